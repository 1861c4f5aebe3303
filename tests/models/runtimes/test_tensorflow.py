"""SavedModels, saved by TensorFlow itself and judged by it: every type, texts, `tf.Example`, many signatures."""

from __future__ import annotations

import numpy as np
import pytest

from carrara.core.errors import DataError, NotFoundError, RequestError
from carrara.models.runtimes.base import open_folder, open_servable
from carrara.models.signature import CLASSIFY, NUMPY_TYPES, Signature, TensorSpec

NUMBERS = [name for name in NUMPY_TYPES if name not in ("string", "bytes", "datetime")]


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    """Imported by the process that tests it, and not by each that collects the tests: it takes seconds."""
    global tf
    tf = pytest.importorskip("tensorflow")


def spec(dtype, *shape):
    return tf.TensorSpec(shape, dtype)


def values_of(dtype):
    values = np.array([[0, 1, 3], [100, 77, 2]])
    return (values > 50) if dtype == "bool" else values.astype(NUMPY_TYPES[dtype])


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    """A SavedModel with a signature per type, each of a model that needs its variable or its table."""
    module = tf.Module()
    module.weights = tf.Variable([[1.0], [0.5], [-2.0]])
    module.served = {
        f"as_{dtype}": tf.function(lambda x: {"same": tf.identity(x)}, input_signature=[spec(dtype, None, 3)])
        for dtype in NUMBERS
    }
    module.served["linear"] = tf.function(
        lambda x: {"y": x @ module.weights, "row": tf.reduce_sum(x, axis=1)}, input_signature=[spec("float32", None, 3)]
    )
    module.served["upper"] = tf.function(
        lambda text, end: {"louder": tf.strings.upper(text) + end},
        input_signature=[spec("string", None), spec("string")],
    )
    parsing = {"a": tf.io.FixedLenFeature([], tf.float32, 2.5), "b": tf.io.FixedLenFeature([2], tf.int64)}
    module.served["parse"] = tf.function(
        lambda examples: tf.io.parse_example(examples, parsing), input_signature=[spec("string", None)]
    )
    module.served["anything"] = tf.function(
        lambda x: {"size": tf.size(x)}, input_signature=[tf.TensorSpec(None, "float32")]
    )
    folder = tmp_path_factory.mktemp("every")
    tf.saved_model.save(module, str(folder), signatures=module.served)
    return folder


@pytest.fixture(scope="module")
def opened(every):
    return open_folder(every)


@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers_of_every_type_go_in_and_out_unchanged(opened, every, dtype):
    values = values_of(dtype)
    servable = opened[f"as_{dtype}"]
    assert servable.signature.inputs[0].dtype == servable.signature.outputs[0].dtype == dtype
    found = servable.run({"x": values})["same"]
    assert found.dtype == NUMPY_TYPES[dtype]
    assert found.tobytes() == values.tobytes()


def test_a_models_answers_are_tensorflows_own(opened, every):
    rows = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    own = tf.saved_model.load(str(every)).signatures["linear"](x=tf.constant(rows))
    found = opened["linear"].run({"x": rows})
    assert found.keys() == own.keys()
    for name, values in found.items():
        np.testing.assert_array_equal(values, own[name].numpy())


def test_texts_are_bytes_and_may_be_no_utf_8(opened):
    found = opened["upper"].run({"text": np.array([b"a\xff", b""], object), "end": np.array(b"!", object)})
    assert found["louder"].tolist() == [b"A\xff!", b"!"]


def test_serialized_examples_are_parsed_by_the_graph(opened):
    example = tf.train.Example()
    example.features.feature["b"].int64_list.value.extend([4, 5])
    found = opened["parse"].run({"examples": np.array([example.SerializeToString()], object)})
    assert (found["a"].tolist(), found["b"].tolist()) == ([2.5], [[4, 5]])


def test_what_the_graph_refuses_is_the_requests_fault(opened):
    with pytest.raises(RequestError, match="Could not parse example"):
        opened["parse"].run({"examples": np.array([b"no example"], object)})


def test_signatures_say_shapes_and_which_rows_can_be_joined(opened):
    linear, upper, anything = (opened[name].signature for name in ("linear", "upper", "anything"))
    assert linear.inputs == (TensorSpec("x", "float32", (None, 3), "linear_x:0"),)
    assert [spec.shape for spec in linear.outputs] == [(None,), (None, 1)]
    assert [one.name for one in upper.inputs] == ["end", "text"]
    assert (linear.joins, upper.joins, anything.joins) == (True, False, False)
    assert anything.inputs[0].shape is None
    assert opened["anything"].run({"x": np.zeros((2, 3, 4), np.float32)})["size"].tolist() == 24
    for servable in opened.values():
        servable.warm_up()


def test_a_model_of_named_features_takes_them_by_name_or_as_its_matrix(tmp_path):
    module = tf.Module()
    module.weights = tf.Variable([[1.0], [10.0]])
    module.function = tf.function(lambda x: {"out": x @ module.weights}, input_signature=[spec("float32", None, 2)])
    tf.saved_model.save(module, str(tmp_path), signatures=module.function)
    signature = Signature((TensorSpec("b", "float32"), TensorSpec("a", "float64")), (TensorSpec("score", "float32"),))
    servable = open_servable("tensorflow", tmp_path, signature)
    servable.warm_up()
    assert servable.run({"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])})["score"].tolist() == [13.0, 24.0]
    servable.close()


def test_the_method_of_a_signature_is_kept(every, tmp_path):
    builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "old"))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        examples = tf.compat.v1.placeholder(tf.string, [None])
        scores = tf.cast(tf.strings.length(examples), tf.float32)[:, None] * [[1.0, 2.0]]
        definition = tf.compat.v1.saved_model.classification_signature_def(examples, None, scores)
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": definition})
        builder.save()
    opened = open_folder(tmp_path / "old")
    assert opened["serving_default"].signature.method == CLASSIFY
    found = opened["serving_default"].run({"inputs": np.array([b"abc"], object)})
    assert found["scores"].tolist() == [[3.0, 6.0]]


def test_a_folder_that_is_no_model_says_what_is_wrong(tmp_path, every):
    with pytest.raises(NotFoundError, match=r"saved_model\.pb"):
        open_folder(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff")
    with pytest.raises(DataError, match="is not a SavedModel"):
        open_folder(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes((every / "saved_model.pb").read_bytes())
    with pytest.raises(DataError, match="cannot be loaded"):
        open_folder(tmp_path)
