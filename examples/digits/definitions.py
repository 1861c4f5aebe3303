"""Handwritten digits, told by a convolutional net."""

import carrara

digits = carrara.Dataset("digits", source="digits.parquet")


@carrara.on_demand_view(request={"image": "float32[28, 28]"}, features={"image": "float32[28, 28]"})
def picture(image):
    """The pixels, from 0 to 1."""
    return {"image": image / 255}


def convolutional(inputs, task):
    """Two convolutions and a dense layer (LeCun and others, 1998)."""
    from keras import layers

    flow = layers.Reshape((28, 28, 1))(inputs["picture:image"])
    for filters in (16, 32):
        flow = layers.MaxPooling2D()(layers.Conv2D(filters, 3, activation="relu")(flow))
    flow = layers.Dense(64, activation="relu")(layers.Flatten()(flow))
    return layers.Dense(task.outputs)(layers.Dropout(0.3)(flow))


digit = carrara.Model(
    "digit",
    features=("picture",),
    label=carrara.Label(dataset="digits", column="digit", time="at", kind="multiclass"),
    split=carrara.TimeSplit(validation_from="2024-01-03T12:00:00Z", test_from="2024-01-04"),
    trainer=carrara.Keras(build=convolutional, epochs=8, batch_rows=64),
    gates=(carrara.at_least("accuracy", 0.93),),
)
