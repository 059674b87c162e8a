"""A skating program as a script: poses, speeds, turns and flights with their times in seconds.

The script covers a whole record and is evaluated at the sampled times (`simulator/skating/skater.py`), so that a frame
does not depend on which other frames are sampled. All skaters turn to the left here; the evaluation mirrors those who
turn to the right.

Faults range from 0 (none) to 1.6. Faults of elements act only within elements, and faults of program components only
between them: the technical and the component score are visible at different times.
"""

import math

from sapnet_core.datasets.records import Element
from sapnet_core.simulator.skating.elements import Jump, SkatingElement
from sapnet_core.simulator.skating.poses import CHANNELS, POSES, between, worse_spin

__all__ = ["GRAVITY", "STEPS", "Script", "write_script"]

GRAVITY = 9.81  # m/s2
HEIGHTS = (0.20, 0.33, 0.47, 0.56, 0.60)  # rise of a good jump of 1, 2, 3, ... turns in meters
RATES = {"upright": 2.9, "sit": 2.2, "camel": 1.7, "layback": 2.0}  # turns per second of a good spin

# poses of a step sequence, drawn at random
STEPS = ("twizzle", "lunge", "kick", "sway", "push right", "cross", "sway right", "kick right", "glide", "glide right")


class Script:
    """The script of a program.

    Args:
        fault: size of each fault by component factor, from 0 (none) to 1.6.
        u: uniform draws.
        curve: curvature (1/m) of the path at every meter.
        cruise: speed between elements, m/s.
        tall: scale of jump heights.

    Attributes:
        keys: keyframes (seconds, row of `CHANNELS`), connected by smooth steps.
        speeds: (seconds, m/s), interpolated linearly.
        rates: (seconds, rad/s of a spin), interpolated linearly.
        turns: (start, end, radians), to the left where positive.
        flights: (take-off, landing).
        skated, speed: distance in meters and speed in m/s at the end of `speeds`.
        count: number of strokes between elements.
        back: whether the skater skates backward.
    """

    def __init__(self, fault: dict[str, float], u: list[float], curve: list[float], cruise: float, tall: float):
        self.fault, self.u, self.curve, self.cruise, self.tall = fault, u, curve, cruise, tall
        self.keys: list[tuple[float, list[float]]] = []
        self.speeds, self.rates, self.turns, self.flights = [], [], [], []
        self.skated, self.speed, self.count, self.back = 0.0, 0.0, 0, False

    def key(self, time: float, pose: dict[str, float], **changes: float) -> None:
        """Add a keyframe: a pose at a time in seconds, with `changes` added to its channels."""
        if changes:
            pose = pose | {name: pose.get(name, 0.0) + value for name, value in changes.items()}
        self.keys.append((time, [pose.get(name, 0.0) for name in CHANNELS]))

    def go(self, time: float, speed: float) -> None:
        """Set the speed (m/s) at a time."""
        if self.speeds:
            self.skated += (time - self.speeds[-1][0]) * (self.speed + speed) / 2
        self.speeds.append((time, speed))
        self.speed = speed

    def turn(self, start: float, end: float, angle: float) -> None:
        """Turn by `angle` radians, to the left where positive."""
        self.turns.append((start, end, angle))

    def face(self, time: float, back: bool, duration: float = 0.35) -> None:
        """Turn to skate backward (`back`) or forward, unless the skater already does."""
        if back != self.back:
            self.turn(time, time + duration, math.pi)
            self.back = back

    def draw(self, index: int) -> float:
        """A uniform random number of the current stroke."""
        return self.u[(self.count * 5 + index) % len(self.u)]

    # ---- between elements -------------------------------------------------------------------------------------------

    def styled(self, time: float, pose: dict[str, float], left: bool, arms: float = 0.0) -> None:
        """Add a keyframe between elements, with the faults of the components; `arms` raises the arms in a gesture."""
        posture, extension, gesture = (self.fault[name] for name in ("posture", "extension", "gesture"))
        changed, free = dict(pose), "right" if left else "left"
        changed["trunk"] = changed.get("trunk", 0) + 0.38 * posture
        changed["neck"] = changed.get("neck", 0) + 0.35 * posture
        for side in ("left", "right"):
            shoulder, spread = changed.get(f"{side}_shoulder", 0.0), changed.get(f"{side}_spread", 0.0)
            raised = arms * (1.7 if side == free else 0.5) * max(1 - 0.6 * gesture, 0)
            changed[f"{side}_shoulder"] = shoulder * (1 - 0.3 * gesture) + raised
            changed[f"{side}_spread"] = spread * (1 - 0.3 * extension) * (1 - 0.38 * gesture)
            changed[f"{side}_elbow"] = changed.get(f"{side}_elbow", 0.0) + 0.75 * extension
        if changed.get(f"{free}_down", 0) < 0.3:
            changed[f"{free}_hip"] = changed.get(f"{free}_hip", 0.0) * (1 - 0.35 * extension)
            changed[f"{free}_abduct"] = changed.get(f"{free}_abduct", 0.0) * (1 - 0.25 * extension)
            changed[f"{free}_knee"] = changed.get(f"{free}_knee", 0.0) + 0.75 * extension
            changed[f"{free}_ankle"] = changed.get(f"{free}_ankle", 0.0) + 0.4 * extension
        changed["bend"] = changed.get("bend", 0.0) + (0.22 if left else -0.22) * arms * max(1 - 0.6 * gesture, 0)
        self.key(time, changed)

    def skate(self, start: float, end: float) -> None:
        """Skate from the time `start` to `end`: pushes and glides, crossovers in curves, sometimes backward."""
        time, flow = start, self.fault["flow"]
        while end - time > 0.5:
            period = min(0.85 + 0.35 * self.draw(0), end - time)
            period = end - time if end - time - period < 0.5 else period
            left = self.count % 2 == 0
            if self.draw(1) < 0.16 and end - time > 2.5 and self.speed > 2:
                self.face(time, not self.back)
            bent = self.curve[min(int(self.skated), len(self.curve) - 1)]
            crossing = abs(bent) > 0.07 and not self.back
            if crossing:
                left = (bent < 0) != (self.count % 2 == 0)  # the outer foot crosses over
            arms = max(self.draw(2) - 0.35, 0) / 0.65
            name, hold = ("back", "back") if self.back else ("push", "glide")
            if crossing and (left != (bent > 0)):
                name = hold = "cross" if bent > 0 else "cross right"
            if name in ("push", "back") and not left:
                name, hold = f"{name} right", f"{hold} right"
            idle = min(0.8 * flow * (self.draw(3) < 0.65), 1.0)  # coasting on two feet instead of a stroke
            first, second = (between(POSES[n], POSES["both"], idle) for n in (name, hold))
            self.styled(time + 0.32 * period, first, left, 0.4 * arms * (1 - idle))
            self.styled(time + 0.72 * period, second, left, arms * (1 - idle))
            self.styled(time + period, POSES["gather"], left)
            gain = 0.42 * (self.cruise - self.speed) * (1 - 0.5 * idle)
            lost = 0.03 + 0.17 * flow * (0.4 + self.draw(4))
            self.go(time + 0.45 * period, self.speed + gain + 0.5 * lost * self.speed)
            self.go(time + period, self.speed * (1 - lost))
            time += period
            self.count += 1

    # ---- elements ---------------------------------------------------------------------------------------------------

    def jumps(self, start: float, end: float, jumps: tuple[Jump, ...], fault: dict[str, float], fallen: bool) -> float:
        """Perform a jump element, one jump after another. Returns the time at which the skater continues."""
        # rise = height of a good jump, decreased by the fault; a jump is in the air for 2 sqrt(2 rise / g)
        rises = [self.tall * HEIGHTS[min(int(j.turns), 5) - 1] * (1 - 0.42 * fault["height"]) for j in jumps]
        rises = [rise * 0.85**i for i, rise in enumerate(rises)]
        best = [self.tall * HEIGHTS[min(int(j.turns), 5) - 1] * 0.85**i for i, j in enumerate(jumps)]
        slots = [2 * math.sqrt(2 * rise / GRAVITY) for rise in best]  # time slots of good jumps, whatever the faults
        core = sum(slots) + 0.55 * (len(jumps) - 1)
        room = max(end - start - core, 1.0)
        leave = min(0.45 * room, 1.7)
        off = start + room - leave
        if off - start > 3.2:
            self.skate_plainly(start, off - 2.6)
        begin = max(start, off - 2.6)
        self.approach(begin, off, jumps[0])
        for i, (jump, slot, rise) in enumerate(zip(jumps, slots, rises, strict=True)):
            air = 2 * math.sqrt(2 * rise / GRAVITY)
            down, last = off + air, i == len(jumps) - 1
            self.fly(off, down, jump, fault, i)
            self.go(off + slot, 0.95 * self.speed)  # independent of the faults, so that later positions are equal
            if not last:
                following = off + slot + 0.55
                self.key(down, POSES["check"])
                self.key(down + 0.14, POSES["touch"], trunk=0.15 * fault["landing"])
                if jumps[i + 1].kind == "A":
                    self.face(down + 0.16, False, 0.25)
                ready = "Lo" if jumps[i + 1].kind == "Eu" else jumps[i + 1].kind
                self.key(following - 0.16, POSES["Lz" if ready == "F" else ready])
                off = following
            elif fallen:
                return self.fall(down, end)
            else:
                self.land(down, max(end, down + 0.8), fault)
        return max(end, down + 0.8)

    def skate_plainly(self, start: float, end: float) -> None:
        """Glide through a long preparation, which does not depend on the quality."""
        self.face(start, True)
        count = max(int((end - start) / 0.9), 1)
        for i in range(count):
            name = "back" if i % 2 else "back right"
            self.key(start + (end - start) * (i + 0.5) / count, POSES[name])
            self.key(start + (end - start) * (i + 1) / count, POSES["gather"])
        self.go(end, max(self.speed, 0.9 * self.cruise))

    def approach(self, start: float, off: float, jump: Jump) -> None:
        """Enter a jump by its kind, up to the moment before the take-off at the time `off`."""
        span = off - start
        if jump.kind == "A":  # glide backward, then step forward onto the left foot
            self.face(start, True, min(0.35, 0.4 * span))
            self.key(off - 0.62 * span, POSES["wait right"])
            self.key(off - min(0.7, 0.5 * span), POSES["back right"])
            self.face(off - min(0.66, 0.45 * span), False, min(0.3, 0.2 * span))
        elif jump.kind in ("Lz", "S"):  # a long glide backward
            self.face(start, True, min(0.35, 0.3 * span))
            self.key(off - 0.6 * span, POSES["wait"])
            self.key(off - min(0.6, 0.5 * span), POSES["wait"], bend=-0.08)
        elif jump.kind in ("F", "T"):  # glide forward, then turn just before the pick
            self.face(start, False, min(0.3, 0.2 * span))
            self.key(off - 0.7 * span, POSES["glide"])
            self.face(off - min(1.0, 0.6 * span), True, min(0.3, 0.25 * span))
            self.key(off - min(0.6, 0.35 * span), POSES["wait" if jump.kind == "F" else "wait right"])
        else:
            self.face(start, True, min(0.35, 0.3 * span))
            self.key(off - 0.6 * span, POSES["back right"])
        low = {"F": "Lz", "Eu": "Lo"}.get(jump.kind, jump.kind)
        self.key(off - min(0.22, 0.18 * span), POSES[low])
        self.go(start, self.speed)
        self.go(off, max(0.92 * self.speed, 0.75 * self.cruise))

    def fly(self, off: float, down: float, jump: Jump, fault: dict[str, float], index: int) -> None:
        """Fly from `off` to `down` with the turns of the jump, less the missing ones, completed on the ice."""
        air, loose = down - off, fault["rotation"]
        # turns in the air = turns - missing; the mark in the score sheet gives the minimum of the missing turns
        missing = min(max(jump.missing * min(fault["seen"], 1), 0.2 * loose), 0.45 * jump.turns)
        self.turn(off, down, 2 * math.pi * (jump.turns - missing))
        if missing:
            self.turn(down, down + 0.3, 2 * math.pi * missing)
        self.back = True
        self.flights.append((off, down))
        self.key(off, POSES["swing" if jump.kind in ("A", "S") else "spring"])
        parts = {"spread": 0.5, "elbow": -0.45, "abduct": 0.17, "knee": 0.25}
        loosened = {f"{side}_{part}": value * loose for side in ("left", "right") for part, value in parts.items()}
        tilt = (0.3 if self.u[index] < 0.5 else -0.3) * loose
        self.key(off + 0.28 * air, POSES["air"], **loosened, roll=0.7 * tilt)
        self.key(off + 0.75 * air, POSES["air"], **loosened, roll=tilt, pitch=0.12 * loose)

    def land(self, down: float, end: float, fault: dict[str, float]) -> None:
        """Land backward on the right foot; growing faults make it a landing on two feet, then a step out."""
        poor = fault["landing"]
        two = min(max(poor - 0.15, 0) / 0.6, 1.0)  # how far the free foot touches down
        out = min(max(poor - 0.8, 0) / 0.6, 1.0)  # how far the free foot takes weight in a step out
        self.key(down, POSES["check"], trunk=0.2 * poor)
        low = {"trunk": 0.45 * poor, "right_hip": 0.2 * poor, "right_knee": 0.3 * poor, "roll": 0.2 * poor}
        self.key(down + 0.16, POSES["touch"], **low)
        stretched = dict(POSES["landing"])
        stretched["left_hip"] += 0.75 * min(poor, 1)
        stretched["left_knee"] += 0.35 * poor
        stretched["trunk"] += 0.45 * poor
        stretched |= {name: stretched[name] * (1 - 0.2 * poor) for name in ("left_spread", "right_spread")}
        held = between(stretched, POSES["both"], 0.5 * two)
        held = between(held, POSES["step out"], out)
        run = end - down
        self.key(down + min(0.42, 0.5 * run), held, roll=-0.22 * poor * (1 - out))
        self.key(down + min(0.8, 0.75 * run), held, roll=0.15 * poor * (1 - out), trunk=-0.2 * poor)
        self.key(end, POSES["gather"])
        self.go(end, 0.9 * self.speed)

    def fall(self, down: float, end: float) -> float:
        """Fall after a jump, slide, kneel and get up. Returns the time at which the skater continues."""
        self.key(down, POSES["check"], trunk=0.1)
        self.key(down + 0.13, POSES["touch"], roll=-0.35, trunk=0.2)
        self.key(down + 0.34, POSES["tumble"])
        self.key(down + 0.62, POSES["seat"])
        self.key(down + 1.35, POSES["seat"], roll=0.15, trunk=0.25)
        self.key(down + 1.65, POSES["curl"])
        self.key(down + 2.0, POSES["kneel"])
        self.key(down + 2.25, POSES["kneel"], trunk=-0.1)
        self.key(down + 2.7, POSES["gather"])
        for after, share in ((0.4, 0.8), (1.3, 0.3), (2.2, 0.12), (2.7, 0.2)):
            self.go(down + after, share * self.cruise)
        self.turn(down + 0.1, down + 0.9, 0.6 * math.pi)
        self.turn(down + 1.9, down + 2.6, 0.4 * math.pi)  # gets up facing forward
        self.back = False
        return max(down + 2.7, end)

    def spin(self, start: float, end: float, spin: SkatingElement, fault: dict[str, float]) -> float:
        """Spin on the spot: wind up, hold one position after the other, and exit backward."""
        span = end - start
        enter, leave = start + min(1.0, 0.2 * span), end - min(0.8, 0.15 * span)
        self.face(start, False, 0.3)
        self.go(start, self.speed)
        self.go(enter - 0.3 * (enter - start), 0.5 * self.speed)
        self.key(enter - 0.4 * (enter - start), POSES["wind up"], bend=-0.1)
        if spin.flying:
            air = 0.42
            self.key(enter - 0.1, POSES["A"])
            self.key(enter + 0.15, POSES["swing"], trunk=0.5, right_hip=-1.4, left_down=-0.5)
            self.flights.append((enter, enter + air * (1 - 0.25 * fault["position"])))
            enter += air
        self.go(enter, 0.0)
        # the positions share the time equally; the foot changes after half of them
        names = list(spin.positions)
        slots = [(enter + (leave - enter) * i / len(names), name) for i, name in enumerate(names)]
        wanders = 0.55 * fault["spin"]
        foot, rates = "", [(enter - 0.35, 0.0)]
        for i, (time, name) in enumerate(slots):
            until = slots[i + 1][0] if i + 1 < len(slots) else leave
            if spin.change and i == (len(names) + 1) // 2:
                foot = " right"
            rate = 2 * math.pi * RATES[name] * (1 - 0.36 * fault["spin"]) * (0.94 + 0.03 * spin.level)
            settle = min(0.7, 0.3 * (until - time))
            wobble = 0.11 * fault["spin"]
            poses = [name, "overhead" if name == "upright" and i + 1 == len(slots) else name]
            for share, pose, side in ((0.0, poses[0], 1), (0.5, poses[0], -1), (1.0, poses[-1], 1)):
                at = time + settle + share * (until - time - settle)
                self.key(
                    at,
                    worse_spin(POSES[pose + foot], pose, foot, fault["position"]),
                    roll=side * wobble,
                    pitch=0.5 * wobble,
                    drift=wanders * (at - enter) / (leave - enter),
                )
            rates += [(time + settle, rate), (until, rate * 1.08)]
            if foot and i == (len(names) + 1) // 2:  # the push onto the other foot slows the spin
                rates[-2] = (time + settle, 0.8 * rate)
        rates.append((leave + 0.25, 0.0))
        # scale the rates to a whole number of turns plus a half, so that the skater exits backward
        total = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in zip(rates, rates[1:], strict=False))
        wanted = 2 * math.pi * (round(total / (2 * math.pi) - 0.5) + 0.5)
        self.rates += [(time, rate * wanted / total) for time, rate in rates]
        self.back = True
        self.key(leave + 0.3, POSES["touch" if not foot else "touch right"])
        self.key(end, POSES["landing" if not foot else "landing right"], trunk=-0.15)
        self.go(leave, 0.0)
        self.go(end, 1.6)
        return end

    def sequence(self, start: float, end: float, sequence: SkatingElement, fault: dict[str, float]) -> float:
        """Perform steps and turns with arms and trunk in motion, or a choreographic sequence (`choreography`)."""
        self.face(start, False, 0.3)
        pace = 0.72 if not sequence.choreographic else 0.95
        self.go(start + 0.2, self.speed)
        self.go(min(start + 1.5, end), max(pace * self.cruise, 0.8 * self.speed))
        steps, turns = fault["steps"], fault["turns"]
        if sequence.choreographic:
            return self.choreography(start, end, steps, turns)
        length, time, i = 0.62 - 0.03 * sequence.level, start, 0
        while end - time > 0.4:
            u = [self.u[(13 * i + k + 7) % len(self.u)] for k in range(4)]
            until = min(time + length * (0.8 + 0.4 * u[0]), end)
            name = STEPS[int(u[1] * len(STEPS))]
            pose = between(POSES[name], POSES["both"], min(0.55 * steps, 0.9))
            arms = 1 - min(0.45 * steps, 0.8)
            self.key(
                time + 0.6 * (until - time),
                pose,
                bend=0.3 * (u[2] - 0.5) * arms,
                left_shoulder=0.8 * u[3] * arms,
                right_shoulder=0.8 * (1 - u[3]) * arms,
            )
            self.key(
                until,
                POSES["gather"],
                left_knee=-0.3 * min(steps, 1),
                right_knee=-0.3 * min(steps, 1),
                left_hip=-0.17 * min(steps, 1),
                right_hip=-0.17 * min(steps, 1),
            )
            late = 0.12 * turns
            if i % 2 == 0 and end - time > 2.5 * length and name == "twizzle":
                self.turn(time + late, until + 0.6 * length + late, 2 * math.pi)
            elif i % 2 == 0 and end - time > 2.5 * length:  # turn and turn back, so that the sequence ends forward
                wide = (1 if u[2] < 0.5 else -1) * math.pi * (1 - 0.5 * turns)
                self.turn(time + late, until + late, wide)
                self.turn(until + 0.15 + late, until + 0.15 + late + 0.8 * length, -wide)
            time, i = until, i + 1
        self.key(end, POSES["gather"])
        self.go(end, self.speed)
        return end

    def choreography(self, start: float, end: float, steps: float, turns: float) -> float:
        """Perform a spiral, a lunge, a spread eagle and a spiral on the other foot, each for the same time; in at most
        6 s, only a spiral and a spread eagle."""
        shapes = ("spiral", "lunge", "eagle", "spiral right") if end - start > 6 else ("spiral", "eagle")
        span = (end - start) / len(shapes)
        for i, name in enumerate(shapes):
            time, pose = start + i * span, dict(POSES[name])
            right = name.endswith("right")
            free = "left" if right else "right"
            if name.startswith("spiral"):
                pose[f"{free}_hip"] += 0.7 * min(steps, 1.3)
                pose[f"{free}_knee"] += 0.6 * steps
                pose["trunk"] -= 0.35 * min(steps, 1.3)
            elif name == "lunge":
                pose["left_hip"] -= 0.45 * min(steps, 1.3)
                pose["left_knee"] -= 0.7 * min(steps, 1.3)
                pose["right_hip"] += 0.3 * min(steps, 1.3)
            else:
                pose = between(pose, POSES["both"], min(0.5 * turns, 0.8))
                self.turn(time, time + 0.3 * span, math.pi / 2)
                self.turn(time + 0.8 * span, time + span, -math.pi / 2)
            for share, sway in ((0.3, 1), (0.55, -1), (0.78, 1)):
                self.key(
                    time + share * span, pose, roll=0.08 * turns * sway, left_elbow=0.5 * steps, right_elbow=0.5 * steps
                )
            self.key(time + span, POSES["gather"])
        self.go(end, self.speed)
        return end


def write_script(
    elements: list[tuple[Element, SkatingElement, dict[str, float], bool]],
    seconds: float,
    rate: float,
    fault: dict[str, float],
    u: list[float],
    curve: list[float],
    cruise: float,
    tall: float,
) -> Script:
    """Write the script of a program.

    Args:
        elements: each element with its parsed name, its faults by element factor (and under "seen" the visibility of
            faults, which scales the turns that the score sheet marks as missing), and whether the skater falls.
        seconds: duration of the record.
        rate: frames per second of the elements' times.
        fault: size of each fault by component factor.
        u: uniform draws.
        curve: curvature (1/m) of the path at every meter.
        cruise: speed between elements, m/s.
        tall: scale of jump heights, 1 for a typical man.
    """
    script = Script(fault, u, curve, cruise, tall)
    first = min([element.start / rate for element, *_ in elements] + [seconds])
    begun = min(2.5, 0.5 * first)
    script.styled(0.0, POSES["open"], True, 0.3)
    script.styled(0.7 * begun, POSES["open"], True, 0.3)
    script.go(0.0, 0.0)
    script.go(max(begun - 0.5, 0.0), 0.0)
    script.key(begun, POSES["gather"])
    time = begun
    for element, read, faults, fallen in sorted(elements, key=lambda entry: entry[0].start):
        start, end = element.start / rate, max(element.end, element.start + 1) / rate
        script.skate(time, start)
        script.key(start, POSES["gather"])
        time = max(time, start)
        end = max(end, time + 0.8)
        if read.kind == "jump":
            time = script.jumps(time, end, read.jumps, faults, fallen)
        elif read.kind == "spin":
            time = script.spin(time, end, read, faults)
        else:
            time = script.sequence(time, end, read, faults)
    stop = max(seconds - 2.5, time + 0.2)
    script.skate(time, stop)
    script.go(stop + 0.8, 0.0)
    script.face(stop, False)
    script.styled(stop + 0.8, POSES["final"], False)
    script.styled(stop + 30, POSES["final"], False)
    script.keys.sort(key=lambda entry: entry[0])
    for track in (script.speeds, script.rates):
        track.sort(key=lambda entry: entry[0])
    return script
