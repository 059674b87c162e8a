"""Settings of the simulator: an immutable value, stored with everything that is computed from it.

`calibration.json` beside this file has the values of each dataset. They were chosen with the baseline I3D+MLP alone
(`sapnet_core.recipes.calibrate_simulator`), such that it comes as near to the paper's correlation as was found; the
tables then show what other methods add to it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

__all__ = ["SimSettings", "settings_for"]

CALIBRATION = Path(__file__).with_name("calibration.json")
LIMITS = {  # minimum and maximum of a field; all other fields range from 0 to 10
    "part_spread": (0.0, 1.0),
    "factor_spread": (0.0, 1.0),
    "judge_noise": (0.0, 1.0),
    "bystanders": (0, 20),
    "sensor_noise": (0.0, 1.0),
    "lead_in": (0.05, 0.5),
    "flight": (0.1, 0.5),
    "timing": (0.0, 0.15),
}


@dataclass(frozen=True)
class SimSettings:
    """Settings of the simulator.

    Attributes:
        visibility: how strongly faults show in the motion; 0 makes every performance perfect.
        part_spread: sd of the parts of one performance around its quality, in quality units (0..1).
        factor_spread: sd of the quality factors around their part, in quality units.
        judge_noise: sd of the factors' mean around the judges' quality, in quality units.
        nuisance: size of the differences between athletes and scenes that judges ignore; 0 makes all alike.
        bystanders: number of people who stand or walk nearby.
        sensor_noise: sd of the pixel noise; full scale is 1.
        texture: contrast of wall, crowd and water.
        camera: amount of camera shake, zoom and lag.
        lead_in, flight: typical fractions of the clip before take-off and in the air, for dives without annotated
            transitions.
        timing: sd of `lead_in` from dive to dive; `flight` has half of it.

    Raises:
        ValueError: a value has a wrong type or is out of range; the message names the field.
    """

    visibility: float = 1.0
    part_spread: float = 0.15
    factor_spread: float = 0.08
    judge_noise: float = 0.016
    nuisance: float = 1.0
    bystanders: int = 2
    sensor_noise: float = 0.03
    texture: float = 1.0
    camera: float = 1.0
    lead_in: float = 0.28
    flight: float = 0.36
    timing: float = 0.05

    def __post_init__(self):
        for field in fields(self):
            value, (low, high) = getattr(self, field.name), LIMITS.get(field.name, (0.0, 10.0))
            wanted = int if field.type is int else (int, float)
            if isinstance(value, bool) or not isinstance(value, wanted) or not low <= value <= high:
                kind = "a whole number" if field.type is int else "a number"
                raise ValueError(f"SimSettings.{field.name}={value!r}: give {kind} from {low} to {high}")
            object.__setattr__(self, field.name, field.type(value))  # 1 and 1.0 are the same settings

    def to_json(self) -> str:
        """The settings as one line of JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "SimSettings":
        """Settings from JSON; fields left out keep their defaults. Raises ValueError naming an unknown field."""
        return cls._from_dict(json.loads(text), "JSON")

    @classmethod
    def _from_dict(cls, values: dict, source: str) -> "SimSettings":
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(f"{source}: SimSettings has no field {unknown[0]!r}; its fields are {', '.join(known)}")
        return cls(**values)

    def digest(self) -> str:
        """Digest of all values, 12 hexadecimal digits: equal settings have equal digests."""
        return hashlib.blake2b(self.to_json().encode(), digest_size=6).hexdigest()


def settings_for(dataset: str) -> SimSettings:
    """The calibrated settings of a dataset's twins.

    Raises:
        ValueError: the dataset has no entry in `calibration.json`, or a field of the entry is invalid.
    """
    entries = json.loads(CALIBRATION.read_text(encoding="utf-8"))
    if dataset not in entries:
        raise ValueError(f"{CALIBRATION.name} has no entry {dataset!r}: choose one of {', '.join(sorted(entries))}")
    return SimSettings._from_dict(entries[dataset], f"{CALIBRATION.name}[{dataset!r}]")
