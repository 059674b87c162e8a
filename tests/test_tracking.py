"""From detections to the actor's box in every frame, among other people."""

import pytest
import torch

from sapnet_core.detection.detector import Detector, load_detector, looked_at, small_ssd
from sapnet_core.detection.tracking import (
    actor_boxes,
    actor_score,
    choose_actor,
    fill_boxes,
    link_detections,
    track_scores,
)

SIZE = (100, 120)  # height, width


def box(x, y, w, h):
    """A box (4,) with center (x, y), width w and height h."""
    return torch.tensor([x - w / 2, y - h / 2, x + w / 2, y + h / 2])


def diver(at: int) -> torch.Tensor:
    """The box of a diver near the middle, whose shape changes."""
    width, height = ((12, 34), (20, 20), (34, 14), (18, 22))[at % 4]
    return box(60 + 3 * (at % 3), 48 + 2 * (at % 2), width, height)


def judge(at: int) -> torch.Tensor:
    """The box of a judge who sits at the side, with the jitter of detections."""
    return box(100 + 0.2 * (at % 2), 30, 13 + 0.2 * (at % 3), 27)


def coach(at: int) -> torch.Tensor:
    """The box of a coach who walks across the whole frame, past the diver."""
    return box(10 + 5 * at, 52, 13 + (at % 2), 34)


def seen(frame: list[torch.Tensor], scores=None):
    """Detections (boxes, scores) in a frame; each score is 0.9 unless given."""
    boxes = torch.stack(frame) if frame else torch.empty(0, 4)
    return boxes, torch.tensor(scores) if scores else torch.full((len(frame),), 0.9)


def test_people_who_keep_apart_are_one_track_each_whatever_their_order():
    found = [seen([diver(i), judge(i)] if i % 2 else [judge(i), diver(i)]) for i in range(12)]
    tracks = link_detections(found)
    assert [track.at for track in tracks] == [list(range(12))] * 2
    for track, person in zip(tracks, (judge, diver), strict=True):
        torch.testing.assert_close(torch.stack(track.boxes), torch.stack([person(i) for i in range(12)]))


def test_two_who_pass_each_other_are_not_exchanged():
    left = [box(10 + 8 * i, 50, 14, 36) for i in range(12)]
    right = [box(98 - 8 * i, 52, 14, 36) for i in range(12)]
    tracks = link_detections([seen([a, b]) for a, b in zip(left, right, strict=True)])
    assert len(tracks) == 2
    torch.testing.assert_close(torch.stack(tracks[0].boxes), torch.stack(left))


def test_the_cheapest_pairing_as_a_whole_is_taken():
    """The detection nearest to the first track is the only one within reach of the second."""
    found = [seen([box(20, 50, 20, 20), box(40, 50, 20, 20)]), seen([box(36, 50, 20, 20), box(54, 50, 20, 20)])]
    tracks = link_detections(found)
    assert [track.at for track in tracks] == [[0, 1], [0, 1]]
    assert float(tracks[0].boxes[1][0]) == 26 and float(tracks[1].boxes[1][0]) == 44


def test_someone_far_off_begins_a_new_track_and_a_missed_one_is_found_again():
    found = [seen([diver(i)]) if i not in (4, 5) else seen([]) for i in range(10)]
    found[5] = seen([box(8, 90, 10, 18)])
    tracks = link_detections(found)
    assert [track.at for track in tracks] == [[0, 1, 2, 3, 6, 7, 8, 9], [5]]


def test_the_actor_is_chosen_among_judge_coach_and_crowd():
    draw = torch.Generator().manual_seed(0)
    found = []
    for i in range(24):
        crowd = box(*(torch.rand(2, generator=draw) * torch.tensor([120.0, 20.0])).tolist(), 6, 9)
        people = [diver(i), judge(i), coach(i), crowd]
        found.append(seen(people, [0.6, 0.95, 0.95, 0.5]))  # the most confident are not the actor
    chosen = choose_actor(link_detections(found), 24, SIZE)
    own = sum(torch.equal(b, diver(at)) for at, b in zip(chosen.at, chosen.boxes, strict=True))
    assert own >= 22


@pytest.mark.parametrize("what", ["duration", "motion", "size", "closeness"])
def test_each_part_of_the_score_counts(what):
    def score(place=(60, 50), zoom=1.0, still=False, count=20):
        frames = [
            seen([box(*place, *(zoom * s for s in ((12, 30), (24, 18))[0 if still else i % 2]))]) for i in range(count)
        ]
        (track,) = link_detections(frames)
        return actor_score(track, 20, SIZE)

    less = {"duration": {"count": 8}, "motion": {"still": True}, "size": {"zoom": 0.5}}
    assert score(**less.get(what, {"place": (95, 20)})) < 0.75 * score()


def test_pieces_of_one_actor_are_joined_and_others_are_not():
    found = [seen([diver(i)] if i < 8 or i > 16 else [judge(i)]) for i in range(26)]
    chosen = choose_actor(link_detections(found), 26, SIZE)
    assert chosen.at == [*range(8), *range(17, 26)]  # the judge, seen in between, is not the actor


def test_gaps_are_filled_along_the_way_and_counted():
    searched = looked_at(21, 4)  # 0 4 8 12 16 20
    tracks = link_detections(
        [
            seen([box(20, 50, 20, 20)]),
            seen([box(24, 50, 20, 20)]),
            seen([]),
            seen([]),
            seen([box(36, 50, 20, 24)]),
            seen([]),
        ]
    )
    boxes, lost = fill_boxes(tracks[0], searched, 21, SIZE)
    center = (boxes[:, 0] + boxes[:, 2]) / 2
    torch.testing.assert_close(center[:17], 20.0 + torch.arange(17))  # one pixel per frame, also in the gap
    torch.testing.assert_close(boxes[16:], boxes[16].expand(5, 4))  # then it stands still
    assert lost.tolist() == [False] * 5 + [t > 4 for t in range(5, 16)] + [False] + [True] * 4


def test_before_the_first_detection_the_box_stands_still():
    searched = looked_at(9, 4)
    (track,) = link_detections([seen([]), seen([box(30, 40, 10, 20)]), seen([box(34, 40, 10, 20)])])
    boxes, lost = fill_boxes(track, searched, 9, SIZE)
    torch.testing.assert_close(boxes[:4], boxes[4].expand(4, 4))
    assert lost.tolist() == [True] * 4 + [False] * 5


def test_nobody_found_is_the_whole_picture_and_all_lost():
    boxes, lost = fill_boxes(choose_actor(link_detections([seen([])] * 3), 3, SIZE), looked_at(9, 4), 9, SIZE)
    assert boxes.tolist() == [[0, 0, 120, 100]] * 9 and lost.all()


def test_video_without_people_goes_through_the_detector():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        detector = Detector(small_ssd(), "random", threshold=0.99)
    boxes, lost = actor_boxes(torch.zeros(7, 3, 40, 60, dtype=torch.uint8), detector)
    assert boxes.tolist() == [[0, 0, 60, 40]] * 7 and lost.all()


def test_boxes_lie_in_the_video_they_were_made_from_whatever_its_shape():
    video = torch.full((9, 3, 90, 200), 120, dtype=torch.uint8)
    boxes, lost = actor_boxes(video, load_detector())
    assert boxes.shape == (9, 4) and lost.shape == (9,)
    assert (boxes[:, 2] <= 200).all() and (boxes[:, 3] <= 90).all()


def test_track_is_scored_over_the_frames_that_show_the_actor():
    truth = torch.tensor([[0.0, 0, 10, 10]]).repeat(4, 1)
    boxes = truth.clone()
    boxes[1] = torch.tensor([5.0, 0, 15, 10])  # IoU 1/3
    boxes[3] = 50.0
    lost = torch.tensor([False, True, False, False])
    shown = torch.tensor([True, True, True, False])
    scores = track_scores(boxes, lost, truth, shown)
    assert scores == pytest.approx({"IoU": 7 / 9, "found": 2 / 3, "lost": 1 / 3})
    assert track_scores(boxes, lost, truth)["found"] == 0.5
