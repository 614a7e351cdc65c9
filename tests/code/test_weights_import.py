"""Files of the authors' layout, written by an independent network, become models and probes that the commands take."""

import argparse
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from released_files import (
    old_state_dict,
    reference_network,
    reference_probe,
    save_as_in_2018,
)
from test_training_variant import data  # noqa: F401  a fixture
from torch.serialization import get_unsafe_globals_in_checkpoint
from whole_sections import variant_params

from fabnet.errors import UserError
from fabnet.faces.face_params import check_recipe, params_of
from fabnet.files import hash_file, read_json
from fabnet.inference.weights import Choices, ProbeFile, import_weights
from fabnet.model import load
from fabnet.networks.build import load_model
from fabnet.networks.encoder import embed_images
from fabnet.networks.tensor_files import read_file
from fabnet.probing import readings
from fabnet.probing.readings import OUTPUTS, read_heads
from fabnet.training.variant import train_variant

SMALL = {"size": 32, "filters": 4, "dimension": 16}


@pytest.fixture
def released(tmp_path):
    """A released file: the network and, under `state_dict`, the probe of AffectNet's eight classes."""
    path = tmp_path / "affectnet_4views.pth"
    network, probe = reference_network(**SMALL), reference_probe(8, 16)
    save_as_in_2018({"state_dict_model": old_state_dict(network), "state_dict": old_state_dict(probe)}, path)
    return path


def pictures(count: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def as_tensors(images: np.ndarray) -> torch.Tensor:
    """What torchvision's ToTensor makes of pictures."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def test_a_released_file_becomes_a_model_with_equal_outputs(released, tmp_path):
    """From the file of Python 2 to embeddings of pictures, by the way that `fabnet embed` takes."""
    done = import_weights(released, tmp_path / "model")
    assert done.aside == []
    model = load(tmp_path / "model")
    assert (model.name, model.size, model.dimension) == ("model", 32, 16)
    card = read_json(tmp_path / "model/model.json")
    assert card == done.card
    assert (card["objective"], card["sources"], card["base_filters"]) == ("fabnet", 3, 4)
    assert card["conventions"] == {"align_corners": True, "unit_input": True}
    assert card["imported"] == {"file": "affectnet_4views.pth", "sha256": hash_file(released)}
    images = pictures(5)
    made = model.embed(images)
    with torch.no_grad():
        expected = reference_network(**SMALL).encoder(as_tensors(images)).flatten(1).numpy()
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=2e-5)
    assert sorted(path.name for path in model.path.iterdir()) == ["best.pt", "model.json"]


def test_the_recipe_is_the_authors_and_embedding_holds_it_against_others(released, tmp_path):
    import_weights(released, tmp_path / "model")
    recipe = load(tmp_path / "model").recipe
    assert (recipe["source"], recipe["recrop"], recipe["size"]) == ("cropped", "authors", 32)
    check_recipe(recipe, params_of(recipe, 32))
    with pytest.raises(UserError, match="source: cropped in the model's, detected here"):
        check_recipe(recipe, params_of(recipe, 32, faces="detect"))
    import_weights(released, tmp_path / "plain", Choices(recrop="none"))
    assert "recrop" not in load(tmp_path / "plain").recipe


def test_options_are_written_down_and_honoured(released, tmp_path):
    import_weights(released, tmp_path / "model", Choices(align_corners=False, unit_input=False, sources=1))
    network, card = load_model(tmp_path / "model")
    assert card["conventions"] == {"align_corners": False, "unit_input": False}
    assert (network.conventions.align_corners, network.views, card["sources"]) == (False, 2, 1)
    images = pictures(3)
    (made,) = embed_images(network.encoder, [images])
    with torch.no_grad():
        expected = reference_network(**SMALL).encoder(2 * as_tensors(images) - 1).flatten(1).numpy()
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("views", [2, 4])
def test_a_training_checkpoint_of_the_authors(tmp_path, views):
    """It holds an optimiser, numbers and options, whose views say how many sources there were."""
    network = reference_network(**SMALL)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    content = {"state_dict": network.state_dict(), "optimizer": optimiser.state_dict(), "epoch": 10, "lr": 1e-4}
    torch.save(content | {"opts": argparse.Namespace(num_views=views)}, tmp_path / "epoch10.pth")
    done = import_weights(tmp_path / "epoch10.pth", tmp_path / "model")
    assert done.card["sources"] == views - 1
    assert done.aside == ["epoch", "lr", "optimizer", "opts", *(["mask.*"] if views == 2 else [])]


@pytest.mark.parametrize("task", list(OUTPUTS))
def test_a_probe_gives_what_the_modules_give(tmp_path, task):
    """Folded into one map, also on embeddings far from what batch norm saw; angles come in radians."""
    count = len(OUTPUTS[task])
    network, probe = reference_network(**SMALL), reference_probe(count, 16, seed=count)
    torch.save(old_state_dict(network), tmp_path / "network.pth")
    save_as_in_2018(probe.state_dict(), tmp_path / "probe.pth")
    file = ProbeFile(tmp_path / "probe.pth", task, radians=task == "pose")
    import_weights(tmp_path / "network.pth", tmp_path / "model", probes=[file])
    model = load(tmp_path / "model", tmp_path / "model/heads.npz")
    heads = model.probes
    assert heads.meta["recipe_hash"] == model.recipe["hash"]
    (head,) = heads.heads
    assert (head.task, head.names) == (task, OUTPUTS[task])
    embeddings = np.random.default_rng(1).normal(size=(7, 16)).astype(np.float32) * 5
    with torch.no_grad():
        expected = probe(torch.from_numpy(embeddings)).numpy()
    if task == "pose":
        expected = np.degrees(expected)
    np.testing.assert_allclose(head(embeddings), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    if task == "expression":
        (names, *shares) = readings.columns(heads, embeddings, np.zeros((7, 4)))
        assert [head.names.index(name) for name in names.to_pylist()] == expected.argmax(axis=1).tolist()
        np.testing.assert_allclose(np.sum([share.to_numpy() for share in shares], axis=0), 1, rtol=1e-5)


def test_several_probes_of_one_encoder(released, tmp_path):
    """The file's own probe, and another released file's that holds the same encoder; another encoder's is refused."""
    network = reference_network(**SMALL)
    both = {"state_dict_model": network.state_dict(), "state_dict": reference_probe(136, 16).state_dict()}
    torch.save(both, tmp_path / "300w_4views.pt")
    files = [ProbeFile(released, "expression"), ProbeFile(tmp_path / "300w_4views.pt", "landmarks68")]
    import_weights(released, tmp_path / "model", probes=files)
    assert [head.task for head in read_heads(tmp_path / "model/heads.npz").heads] == ["expression", "landmarks68"]
    with pytest.raises(UserError, match="--task expression: is given twice"):
        import_weights(released, tmp_path / "twice", probes=[files[0], files[0]])
    both["state_dict_model"] = reference_network(seed=1, **SMALL).state_dict()
    torch.save(both, tmp_path / "300w_4views.pt")
    with pytest.raises(
        UserError, match=r"300w_4views\.pt: its probe reads another encoder .* encoder\.layers\.0\.weight"
    ):
        import_weights(released, tmp_path / "other", probes=files)
    assert not (tmp_path / "twice").exists()
    assert not (tmp_path / "other").exists()


def bad_probe(change: str) -> dict[str, torch.Tensor]:
    state = reference_probe(8, 16).state_dict()
    if change == "bias":
        state["1.bias"] = torch.zeros(8)
    elif change == "missing":
        del state["0.running_var"]
    elif change == "nan":
        state["1.weight"][0, 0] = torch.nan
    elif change == "variance":
        state["0.running_var"][3] = -0.1
    elif change == "wide":
        state = reference_probe(8, 256).state_dict()
    elif change == "network":
        state = reference_network(**SMALL).state_dict()
    return state


@pytest.mark.parametrize(
    ("change", "task", "message"),
    [
        ("none", "pose", r"p\.pth: 1\.weight: is 8 x 16, but a probe of task pose, which has 3 outputs"),
        ("none", "smile", r"--task smile: no such task; there are landmarks68"),
        ("bias", "expression", r"p\.pth: 1\.bias: no probe has it"),
        ("missing", "expression", r"p\.pth: lacks 0\.running_var"),
        ("nan", "expression", r"p\.pth: 1\.weight: .*not finite"),
        ("variance", "expression", r"p\.pth: 0\.running_var: .*below zero"),
        ("wide", "expression", r"p\.pth: 0\.weight: is 256, but .* on embeddings of 16 has 16 there"),
        ("network", "expression", r"p\.pth: decoder\.10\.bias: no probe has it"),
    ],
)
def test_a_probe_that_does_not_fit(released, tmp_path, change, task, message):
    torch.save(bad_probe(change), tmp_path / "p.pth")
    with pytest.raises(UserError, match=message):
        import_weights(released, tmp_path / "model", probes=[ProbeFile(tmp_path / "p.pth", task)])
    assert not (tmp_path / "model").exists()


class Code:
    """Its pickle writes a file when it is loaded with code allowed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "ran"))


def test_code_in_a_file_does_not_run(tmp_path):
    witness = tmp_path / "witness"
    state = old_state_dict(reference_network(**SMALL))
    for number, zipped in enumerate((True, False)):
        path = tmp_path / f"{number}.pth"
        torch.save({"state_dict": state, "more": Code(witness)}, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(
            UserError, match=rf"{number}\.pth: not a file of weights, .*code, which never runs"
        ) as error:
            import_weights(path, tmp_path / "model")
        assert "\n" not in str(error.value)
    assert not witness.exists()
    # The file is one that would have run it.
    assert "builtins.getattr" in get_unsafe_globals_in_checkpoint(tmp_path / "0.pth")


def test_a_whole_module_is_no_file_of_weights(tmp_path):
    torch.save(reference_probe(8, 16), tmp_path / "module.pth")
    with pytest.raises(UserError, match=r"module\.pth: not a file of weights"):
        read_file(tmp_path / "module.pth")


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", ["text", "nothing", "pickle", "half", "start"])
def test_files_that_are_none(released, tmp_path, content, ending):
    whole = released.read_bytes()
    damaged = {
        "text": b"These are not the weights you are looking for.\n",
        "nothing": b"",
        "pickle": pickle.dumps([1, 2, 3]),
        "half": whole[: len(whole) // 2],
        "start": whole[:100],
    }[content]
    (tmp_path / f"bad{ending}").write_bytes(damaged)
    with pytest.raises(UserError, match=rf"bad\{ending}: ") as error:
        import_weights(tmp_path / f"bad{ending}", tmp_path / "model")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.999])
def test_a_zip_that_was_cut_short(tmp_path, part):
    torch.save(old_state_dict(reference_network(**SMALL)), tmp_path / "whole.pth")
    data = (tmp_path / "whole.pth").read_bytes()  # noqa: F811
    (tmp_path / "cut.pth").write_bytes(data[: int(len(data) * part)])
    with pytest.raises(UserError, match=r"cut\.pth: not a file of weights, or a damaged one"):
        import_weights(tmp_path / "cut.pth", tmp_path / "model")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(2)], "holds a list instead of a state dict"),
        ({"epoch": 3, "lr": 0.1}, "no state dict of a network: .*there is epoch, lr"),
        ({"state_dict": {"a": 1}}, "no state dict of a network"),
        ({"conv1.weight": torch.zeros(64, 3, 7, 7)}, "not FAb-Net's: .*first key is conv1.weight"),
    ],
)
def test_files_of_something_else(tmp_path, content, message):
    torch.save(content, tmp_path / "f.pth")
    with pytest.raises(UserError, match=rf"f\.pth: {message}"):
        import_weights(tmp_path / "f.pth", tmp_path / "model")


@pytest.mark.parametrize(
    "tensor", [torch.eye(4).to_sparse(), torch.zeros(4, 3, 4, 4, device="meta"), torch.zeros(4, dtype=torch.complex64)]
)
def test_tensors_of_other_kinds(tmp_path, tensor):
    state = old_state_dict(reference_network(**SMALL))
    torch.save({**state, "encoder.0.bias": tensor}, tmp_path / "f.pth")
    with pytest.raises(UserError, match=r"f\.pth: encoder\.0\.bias: is "):
        import_weights(tmp_path / "f.pth", tmp_path / "model")


def test_flipped_bytes_never_end_in_a_traceback(released, tmp_path):
    """A file with a few bytes changed, in pickles or numbers, is refused in a line or read as finite numbers."""
    whole = released.read_bytes()
    random = np.random.default_rng(0)
    refused: dict[int, str] = {}
    for number in range(60):
        content = bytearray(whole)
        limit = 4000 if number % 2 else len(content)
        for place in random.integers(0, limit, 3):
            content[place] = random.integers(256)
        (tmp_path / "f.pth").write_bytes(content)
        try:
            import_weights(tmp_path / "f.pth", tmp_path / f"model{number}")
        except UserError as error:
            refused[number] = str(error)
        else:
            network, _ = load_model(tmp_path / f"model{number}")
            assert all(value.isfinite().all() for value in network.state_dict().values())
    assert len(refused) > 20
    assert not any("\n" in message for message in refused.values())
    assert not any((tmp_path / f"model{number}").exists() for number in refused)


def test_nothing_is_overwritten(released, tmp_path):
    import_weights(released, tmp_path / "model")
    with pytest.raises(UserError, match="exists; choose another --out"):
        import_weights(released, tmp_path / "model")
    with pytest.raises(UserError, match=r"absent\.pth: no such file"):
        import_weights(tmp_path / "absent.pth", tmp_path / "other")


def test_training_goes_on_from_released_weights(data, tmp_path):  # noqa: F811
    """A variant that starts from them begins with their numbers, keeps their conventions and says so."""
    torch.save(old_state_dict(reference_network(size=16, filters=4, dimension=8)), tmp_path / "r.pth")
    import_weights(tmp_path / "r.pth", tmp_path / "models/released", Choices(align_corners=False, sources=1))
    values = variant_params(start_from="released", decoder="factored", freeze=["encoder"])
    where = data / "frames", data / "splits.parquet"
    card = train_variant("tuned", values, *where, tmp_path / "models/tuned", tmp_path / "work")
    assert card["conventions"] == {"align_corners": False, "unit_input": True}
    start, tuned = (load_model(tmp_path / "models" / name)[0] for name in ("released", "tuned"))
    assert tuned.conventions == start.conventions
    assert torch.equal(tuned.encoder.layers[0].weight, start.encoder.layers[0].weight)
    assert not torch.equal(tuned.flow_decoder.layers[2].weight, start.flow_decoder.layers[2].weight)
