#!/bin/sh
# The entry point of the image: what tensorflow/serving's does, and its arguments go on to the server.
#
# A container's ports are reached through its network only, which --insecure says aloud once an hour; with an
# --ssl_config_file that verifies clients nothing is said.
set -eu
name=${MODEL_NAME:-model}
for argument in "$@"; do
  case $argument in
    # What to serve is told already.
    --model_config_file* | --model_base_path* | --workspace*) name="" ;;
  esac
done
if [ -n "$name" ]; then
  set -- --model_name="$name" --model_base_path="${MODEL_BASE_PATH:-/models}/$name" "$@"
fi
# The server is the container's first process, so that SIGTERM reaches it and it drains.
exec carrara serve --host=0.0.0.0 --insecure --port=8500 --rest_api_port=8501 "$@"
