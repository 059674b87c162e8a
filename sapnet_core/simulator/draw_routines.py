"""Randomly drawn annotation sets of routines: Rhythmic Gymnastics and FineFS in their official files.

Gymnastics: difficulty, execution and penalties per apparatus have the distributions of the real set, whose summary
statistics are the constants below. Skating: programs follow the rules of the International Skating Union (seven
elements in a short program, twelve in a free skating), with base values from its tables, nine judges with grades of -5
to 5, and five program components. A skater has two latent skills, technique (choice of elements, grades, falls) and
presentation (components), which correlate by `SHARED`, as the technical (TES) and the component score (PCS) of real
skaters do, while neither determines the other. No real routine is in these sets.
"""

import json

import numpy as np

from sapnet_core.datasets import finefs, rhythmic_gymnastics
from sapnet_core.simulator.skating.elements import BASE, SPINS

__all__ = ["draw_finefs", "draw_rhythmic"]

# Rhythmic Gymnastics: mean and sd of difficulty, mean and sd of execution, Spearman correlation of the two
POINTS = {
    "Ball": (8.75, 2.08, 6.46, 1.35, 0.77),
    "Clubs": (9.05, 2.39, 6.42, 1.30, 0.65),
    "Hoop": (8.76, 2.30, 6.48, 1.29, 0.80),
    "Ribbon": (7.65, 2.02, 6.24, 1.43, 0.77),
}
# quantiles of standardized difficulty and execution at the probabilities `RANKS`: difficulty is nearly normal, while
# execution has a lower tail of failed routines
RANKS = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1)
DIFFICULTY = (-3.0, -2.2, -1.65, -1.27, -0.7, -0.03, 0.7, 1.36, 1.65, 2.2, 2.8)
EXECUTION = (-3.8, -2.9, -1.7, -1.32, -0.6, 0.06, 0.7, 1.29, 1.52, 1.92, 2.2)
PENALTIES = (0.05, 0.1, 0.3, 0.6), (0.48, 0.13, 0.28, 0.11)  # points, and their frequencies among penalized routines
PENALIZED = 0.143, 0.55  # mean fraction of penalized routines; increase of its logarithm per sd of lower execution
SECONDS = 92.3, 1.5  # duration of a routine: mean and sd

# FineFS
WOMEN = {"SP": 379 / 729, "FS": 218 / 438}  # fraction of women's programs
SHARED = 0.7  # correlation of a skater's technique and presentation
LENGTH = {"SP": (160, 4), "FS": (240, 5)}  # duration in seconds: mean and sd
COMPONENT = 7.35, 0.9  # mean and sd of component marks over skaters
SHIFTS = (0.1, -0.3, 0.05, 0.1, 0.05)  # offset of each component from that mean
GRADE = {"jump": (0.7, 1.5, 1.5), "spin": (1.7, 0.9, 0.9), "sequence": (1.8, 0.9, 0.8)}  # mean, slope in skill, sd
STEP = {"ChSq1": 0.5 / 3}  # fraction of the base value that one grade is worth; a tenth for other elements
# error marks of jumps: factor of the base value, change of the grade
SHORT = {"<": (0.8, -2.2), "<<": (0.45, -3.2), "e": (0.8, -1.8), "!": (1.0, -0.7), "q": (1.0, -1.0)}
TRIPLES = ("3T", "3S", "3Lo", "3F", "3Lz")
QUADS = ("4T", "4S", "4Lz", "4F", "4Lo")
# order of the elements: J jump, S spin, Q step sequence, C choreographic sequence; the last spin is a combination spin
ORDERS = {
    "SP": ("JJSJSQS", "JJSSJQS", "JSJJQSS", "JJSJQSS"),
    "FS": ("JJJSJQJJJSCS", "JJSJJQJJJCSS", "JJJJSQJJJSCS", "JJJSQJJJJCSS"),
}
TIMES = {"J": (3, 4), "+": (4, 6), "S": (9, 13), "Q": (26, 34), "C": (9, 14)}  # duration in s; +: jump combination
JUDGES = 9  # judges in a panel


def draw_rhythmic(rng: np.random.Generator, n_train: int, n_test: int) -> dict[str, bytes]:
    """Draw the two split lists: file name -> content. Routines are spread evenly over the four apparatus."""
    parts = {part: [] for part in rhythmic_gymnastics.SPLITS}
    for i, name in enumerate(rhythmic_gymnastics.APPARATUS):
        counts = [(n + 3 - i) // 4 for n in (n_train, n_test)]
        test = set(rng.permutation(sum(counts))[: counts[1]].tolist())
        for n, row in enumerate(_routines(rng, name, sum(counts))):
            parts["test" if n in test else "train"].append((f"{name}_{n + 1:03d}", *row))
    head = "Video_Name\tDifficulty_Score    Execution_Score Total_Score\tPenalty\tVideo_length"
    return {
        file: "\n".join([head, *("\t".join(row) for row in parts[part]), ""]).encode()
        for part, file in rhythmic_gymnastics.SPLITS.items()
    }


def _routines(rng: np.random.Generator, name: str, count: int) -> list[tuple[str, ...]]:
    """Rows of the list for one apparatus, without the video's name."""
    mean_d, sd_d, mean_e, sd_e, shared = POINTS[name]
    z = rng.standard_normal((3, count))
    z[1] = shared * z[0] + np.sqrt(1 - shared**2) * z[1]
    difficulty = mean_d + sd_d * np.interp(_rank(z[0]), RANKS, DIFFICULTY)
    low = np.interp(_rank(z[1]), RANKS, EXECUTION)
    execution = mean_e + sd_e * low
    likely = PENALIZED[0] * np.exp(-PENALIZED[1] * low - PENALIZED[1] ** 2 / 2)
    drawn = rng.choice(PENALTIES[0], count, p=PENALTIES[1])
    penalty = np.where(rng.random(count) < likely, drawn, 0.0)
    difficulty = difficulty.clip(0.5).round(1)
    execution = (execution.clip(0.5, 9.6) * 20).round() / 20
    seconds = (SECONDS[0] + SECONDS[1] * z[2]).round().clip(85, 100)
    total = difficulty + execution - penalty
    columns = (difficulty, execution, total, penalty)
    points = zip(*(column.tolist() for column in columns), seconds.tolist(), strict=True)
    return [(*(f"{value:.2f}" for value in row[:4]), f"{row[4]:.0f}") for row in points]


def _rank(z: np.ndarray) -> np.ndarray:
    """Normal distribution function of standard normal values, in [0, 1], by its tanh approximation."""
    return 0.5 * (1 + np.tanh(z * (0.7978845608 + 0.0356774 * z * z)))


def draw_finefs(rng: np.random.Generator, n_train: int, n_test: int) -> dict[str, bytes]:
    """Draw one JSON file per routine: path below the dataset's folder -> content.

    Short programs and free skatings have the proportion of the official set. File numbers are chosen such that the
    default split rule gives `n_train` and `n_test` routines.

    Raises:
        ValueError: more routines are requested than the official split has numbers for.
    """
    parts = finefs.split_of(list(range(finefs.PROGRAMS["FS"][1])), "random")
    files = {}
    for part, count in (("train", n_train), ("test", n_test)):
        free = {
            name: [n for n in range(first, end) if parts[n] == part]
            for name, (first, end, _) in finefs.PROGRAMS.items()
        }
        most = sum(map(len, free.values()))
        if count > most:
            raise ValueError(f"finefs: {count} {part} routines asked, its official split has {most}: ask for fewer")
        short = round(count * len(free["SP"]) / most)
        for program, share in (("SP", short), ("FS", count - short)):
            for number in free[program][:share]:
                content = json.dumps(_routine(rng, program), indent=1).encode()
                files[f"{finefs.PLACES[1]}/{number}.json"] = content
    return files


def _routine(rng: np.random.Generator, program: str) -> dict:
    """Annotation of one routine in the published schema."""
    sex = "women" if rng.random() < WOMEN[program] else "men"
    factor = next(f for (name, f), who in finefs.FACTORS.items() if (name, who) == (program, sex))
    event = int(rng.integers(16)) + 1 + 16 * (program == "FS")
    technique, other = rng.standard_normal(2).clip(-2.6, 2.6)
    presentation = SHARED * technique + np.sqrt(1 - SHARED**2) * other
    elements, falls = _elements(rng, program, sex, technique, presentation)
    components = {}
    for name, shift in zip(finefs.COMPONENTS, SHIFTS, strict=True):
        level = COMPONENT[0] + COMPONENT[1] * presentation + shift + 0.12 * rng.standard_normal() - 0.12 * falls
        marks = ((level + 0.3 * rng.standard_normal(JUDGES)) * 4).round().clip(1, 40) / 4
        components[name] = {"judge_score": marks.tolist(), "score_of_pannel": round(_trimmed(marks), 2)}
    panels = [component["score_of_pannel"] for component in components.values()]
    scores = [element["score_of_pannel"] for element in elements]
    tes, plain = round(sum(scores), 2), round(sum(panels), 2)
    pcs = round(plain * factor, 2)
    deductions = 0.0 - falls - (rng.random() < 0.02)  # one point for each fall, and for exceeding the time limit
    return {
        "competition": f"{program.lower()}_drawn_{event:02d}_{sex}",
        "competition_index": event,
        "total_segment_score": round(tes + pcs + deductions, 2),
        "total_element_score": tes,
        "total_program_component_score(factored)": pcs,
        "factor": factor,
        "total_program_component_score_not_factored": plain,
        "deductions": deductions,
        "element_score": scores,
        "component_score_not_factored": panels,
        "executed_element": {f"element{i}": element for i, element in enumerate(elements, 1)},
        "program_component": components,
    }


def _trimmed(marks: np.ndarray) -> float:
    """Trimmed mean of the panel: without the highest and the lowest mark."""
    return float(np.sort(marks)[1:-1].mean())


def _elements(rng, program: str, sex: str, technique: float, presentation: float) -> tuple[list[dict], int]:
    """Executed elements in order, with their times, and the number of falls."""
    order = ORDERS[program][rng.integers(len(ORDERS[program]))]
    jumps, spins = _jumps(rng, program, sex, technique), _spins(rng, program, sex, technique)
    steps = f"StSq{_level(rng, 2.9 + 0.3 * technique + 0.3 * presentation)}"
    names = [{"J": jumps, "S": spins, "Q": [steps], "C": ["ChSq1"]}[kind].pop(0) for kind in order]
    ranges = [TIMES["+" if "+" in name else kind] for name, kind in zip(names, order, strict=True)]
    lasts = [int(rng.integers(low, high + 1)) for low, high in ranges]
    times = _times(rng, program, lasts)
    late = 1 if program == "SP" else 3  # maximum number of jumps with the 10 % bonus: the last ones of the second half
    bonus = [i for i, kind in enumerate(order) if kind == "J" and times[i][0] > times[-1][1] / 2][-late:]
    elements, falls = [], 0
    for i, (name, kind) in enumerate(zip(names, order, strict=True)):
        coarse = {"J": "jump", "S": "spin"}.get(kind, "sequence")
        marks, grade, fell = _graded(rng, name, coarse, technique, presentation)
        falls += fell
        elements.append(_scored(rng, name, coarse, marks, grade, i in bonus, times[i]))
    return elements, falls


def _times(rng, program: str, lasts: list[int]) -> list[tuple[int, int]]:
    """Start and end of each element in whole seconds; the reader adds `finefs.TAIL` seconds after the last end."""
    mean, spread = LENGTH[program]
    length = round(mean + spread * min(max(rng.standard_normal(), -2), 2)) - finefs.TAIL
    shares = rng.dirichlet(np.full(len(lasts), 4.0))
    gaps = 3 + (shares * (length - sum(lasts) - 3 * len(lasts))).astype(int)
    gaps[0] += length - sum(lasts) - gaps.sum()
    starts = np.cumsum(gaps) + np.cumsum([0, *lasts[:-1]])
    return [(int(start), int(start) + last) for start, last in zip(starts, lasts, strict=True)]


def _level(rng, mean: float) -> int:
    return min(max(round(mean + 0.6 * float(rng.standard_normal())), 1), 4)


def _spins(rng, program: str, sex: str, technique: float) -> list[str]:
    flying = ("FCSp", "FSSp")[rng.integers(2)]
    middle = "LSp" if sex == "women" and rng.random() < 0.8 else "CSSp" if flying != "FSSp" else "CCSp"
    return [f"{kind}{_level(rng, 3.5 + 0.45 * technique)}" for kind in (flying, middle, "CCoSp")]


def _jumps(rng, program: str, sex: str, technique: float) -> list[str]:
    """Jump passes in order, the hardest first, with combinations spread; no triple or quadruple appears three times."""
    able = technique + 0.5 * rng.standard_normal()
    quads = min(max(round(1.1 + 1.2 * able), 0), 5) if sex == "men" else min(max(round(1.5 * (able - 2)), 0), 2)
    lost = min(max(round(-1.2 - 1.3 * able), 0), 4)  # number of triples, from the hardest, jumped as doubles instead
    double = {name: "2" + name[1:] for name in TRIPLES[len(TRIPLES) - lost :]}
    solo = [*QUADS[:quads][::-1], *(double.get(name, name) for name in TRIPLES[::-1])]
    axel = "3A" if able > (-0.6 if sex == "men" else 2.2) else "2A"
    second = "3T" if able > -0.5 else "2T"
    if program == "SP":
        return [f"{solo[0]}+{second}", axel, solo[1]]
    other = "2T" if second == "3T" else "2Lo"
    passes = [f"{solo[0]}+{second}", axel, solo[1], solo[2], f"{axel}+{other}", f"{solo[3]}+2T", solo[4]]
    if axel == "2A" and able > 0 and double.get("3S", "3S") not in solo[:5]:
        passes[4] = "2A+1Eu+3S"
    return passes


def _graded(rng, name: str, kind: str, technique: float, presentation: float) -> tuple[list[str], float, bool]:
    """Error marks of each jump of an element, the grade on which judges agree, and whether the skater falls."""
    mean, slope, chance = GRADE[kind]
    skill = technique if kind != "sequence" else 0.5 * technique + 0.5 * presentation
    grade = mean + slope * skill * (0.6 if kind == "jump" else 1.0) + chance * rng.standard_normal()
    parts = name.split("+") if kind == "jump" else [name]
    marks, fell = [""] * len(parts), False
    drawn, fall = rng.random(len(parts)), rng.random()
    if kind == "jump":
        turns = max(int(part[0]) for part in parts)
        risk = {4: 0.2, 3: 0.09}.get(turns, 0.03) * float(np.exp(-0.5 * technique))
        for i, part in enumerate(parts):
            if part[0] in "34" and drawn[i] < risk:
                odds = ("<<", "<", "<", "q", "e" if part[1:] in ("F", "Lz") else "q", "!" if part[1:] == "F" else "q")
                marks[i] = odds[int(drawn[i] / risk * len(odds))]
                grade += SHORT[marks[i]][1]
        fell = fall < risk
    return marks, -5.0 if fell else grade, fell


def _scored(rng, name, kind, marks, grade, bonus: bool, time: tuple[int, int]) -> dict:
    """One element in the published schema."""
    parts = name.split("+") if kind == "jump" else [name]
    plain = [_value(part) for part in parts]
    values = [value * SHORT.get(mark, (1.0, 0))[0] for value, mark in zip(plain, marks, strict=True)]
    judges = (grade + 0.55 * rng.standard_normal(JUDGES)).round().clip(-5, 5)
    # base value: sum over the jumps, plus 10 % in the second half; one grade is worth 10 % of the hardest jump
    bv = round(sum(values) * (1.1 if bonus else 1.0), 2)
    goe = round(_trimmed(judges) * STEP.get(name, 0.1) * max(values), 2)
    infos = [[*filter(None, [mark]), *(["x"] if bonus else [])] or 0 for mark in marks]
    infos += [0] * (3 - len(infos))
    if kind != "jump":
        infos = [-1, -1, -1]
    elif len(parts) == 2:
        infos = [infos[0], 0, infos[1]]
    start, end = (f"{second // 60}-{second % 60:02d}" for second in time)
    return {
        "element": name,
        "coarse_class": kind,
        "jump_comb": len(parts) - 1 if kind == "jump" else -1,
        "bv": bv,
        "judge_score": judges.astype(int).tolist(),
        "goe": goe,
        "score_of_pannel": round(bv + goe, 2),
        "linfo": infos[0],
        "minfo": infos[1],
        "rinfo": infos[2],
        "time": f"{start},{end}",
    }


def _value(part: str) -> float:
    """Base value of one jump, spin or sequence."""
    if part == "ChSq1":
        return 3.0
    if part[0].isdigit():
        return BASE[part[1:]][int(part[0]) - 1]
    table = SPINS.get(part[:-1]) or SPINS["CSSp"]
    return table[int(part[-1])]
