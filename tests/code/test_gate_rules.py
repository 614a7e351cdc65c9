"""gates.yaml: what its rules mean, and what is said of wrong ones."""

import json
from pathlib import Path

import pytest
import yaml
from gate_scores import gates

from fabnet.errors import ConfigError
from fabnet.tracking.gate.rules import Loss, read_gates

ROOT = Path(__file__).parents[2]


def test_the_committed_rules_are_valid_and_ask_for_sets_that_params_name():
    rules = read_gates(ROOT / "gates.yaml")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert set(rules.sets) <= set(params["sets"])
    assert rules.encoder in params["train"]["variants"]


def test_every_committed_floor_is_met_by_the_committed_model_and_not_by_guessing():
    rules = read_gates(ROOT / "gates.yaml")
    scores = json.loads((ROOT / "metrics.json").read_text())
    for gate in rules.gates:
        assert gate.floor is not None
        reached = {name: scores[gate.set][name][gate.metric]["value"] for name in (rules.encoder, "constant")}
        assert gate.sign * (reached[rules.encoder] - gate.floor) <= 0, gate
        assert gate.sign * (reached["constant"] - gate.floor) > 0, gate


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("encoder: fabnet\ngates: []", "gates: Tuple should have at least 1 item"),
        ("gates: [", "not valid YAML"),
        ("- 1", "must be a mapping"),
        ("encoder: a\nencoders: b\ngates: [{G}]", "encoders: unknown key"),
        ("encoder: a\ngates: [{G, tolerance: 1}]", "gates.0.tolerance: unknown key"),
        (
            "encoder: a\ngates: [{set: s, metric: yaw_mae, direction: lower, allowed_loss: 1}]",
            "no such metric as yaw_mae",
        ),
        ("encoder: a\ngates: [{set: s, metric: units_auc, direction: lower, allowed_loss: 1}]", "write higher"),
        ("encoder: a\ngates: [{set: s, metric: units_auc, direction: up, allowed_loss: 1}]", "gates.0.direction"),
        ("encoder: a\ngates: [{set: s, metric: yaw_mae_deg, direction: lower, allowed_loss: -1}]", "not negative"),
        ("encoder: a\ngates: [{set: s, metric: yaw_mae_deg, direction: lower, allowed_loss: much %}]", "in percent"),
        ("encoder: a\ngates: [{G, floor: .nan}]", "gates.0.floor"),
        ("encoder: a\ngates: [{G}, {G}]", "yaw_mae_deg of set s has two gates"),
        ("encoder: a\nconfidence: 95\ngates: [{G}]", "confidence"),
    ],
)
def test_a_wrong_rule_is_one_line_that_names_the_key(tmp_path: Path, change: str, message: str):
    path = tmp_path / "gates.yaml"
    path.write_text(change.replace("{G", "{set: s, metric: yaw_mae_deg, direction: lower, allowed_loss: 1 %"))
    with pytest.raises(ConfigError) as caught:
        read_gates(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1  # 2 is a regression


def test_a_missing_file_says_what_it_is_for(tmp_path: Path):
    with pytest.raises(ConfigError, match="no such file; it says"):
        read_gates(tmp_path / "gates.yaml")


def test_allowed_loss_is_in_units_or_percent_of_the_champion():
    relative, absolute = (gates({"metric": "yaw_mae_deg", "allowed_loss": loss}).gates[0] for loss in ("2 %", 0.2))
    assert relative.allowed_loss == Loss(2, relative=True)
    assert relative.allowed_loss.in_units(8) == pytest.approx(0.16)
    assert absolute.allowed_loss.in_units(8) == 0.2
