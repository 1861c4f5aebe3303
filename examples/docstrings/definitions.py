"""Which library a docstring comes from, told by a net that reads its words."""

import carrara

docstrings = carrara.Dataset("docstrings", source="docstrings.parquet")


@carrara.on_demand_view(request={"text": "string"}, features={"text": "string"})
def description(text):
    """What is said of a function."""
    return {"text": text}


def reader(inputs, task):
    """Words as vectors, convolutions over three of them, and the strongest of each (Kim, 2014)."""
    import torch
    from torch import nn

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(task.categories["description:text"], 48, padding_idx=0)
            self.three = nn.Conv1d(48, 64, 3, padding=1)
            self.dropout = nn.Dropout(0.3)
            self.last = nn.Linear(64, task.outputs)

        def forward(self, given):
            words = self.words(given["description:text"]).transpose(1, 2)
            strongest = torch.relu(self.three(words)).amax(2)
            return self.last(self.dropout(strongest))

    return Reader()


library = carrara.Model(
    "library",
    features=("description",),
    label=carrara.Label(dataset="docstrings", column="library", time="at", kind="multiclass"),
    split=carrara.HashSplit(key=("text",)),
    transforms=(carrara.Tokens("description:text", length=40, most=5_000),),
    trainer=carrara.Torch(build=reader, epochs=12, batch_rows=128, learning_rate=0.003),
    metrics=("accuracy", "log_loss"),
    gates=(carrara.at_least("accuracy", 0.7),),
)
