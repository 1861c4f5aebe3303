from carrara.cli.main import run

run()
