import hashlib

import pytest
from fake_zenodo import FakeZenodo
from noise_clip import noise_clip

from emotion_ray.data.archives import Archive
from emotion_ray.data.clips import write_shards
from emotion_ray.data.plan import FILES_A_TASK, Plan, make_plan
from emotion_ray.data.prepared import write_record, write_rejects
from emotion_ray.data.storage import Folder
from emotion_ray.data.takes import Choice, RejectedTake, Take
from emotion_ray.errors import EmotionRayError, Reject
from emotion_ray.settings import PrepareSettings

URL = "http://mirror/records/1188976/files"
TAKES = ["01-01-01-01-01-01-01", "01-01-02-01-01-01-01", "01-01-03-01-01-01-01"]


def take(clip_id: str, path: str = "") -> Take:
    return Take(clip_id, 1, 0, None, None, None, None, path or f"/videos/{clip_id}.mp4")


def member(clip_id: str, archive: Archive) -> Take:
    url = archive.url.split("?")[0]
    return Take(clip_id, 1, 0, None, None, None, None, url, member=f"Actor_01/{clip_id}.mp4")


def archive(name: str, content: bytes = b"") -> Archive:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return Archive(f"{name}.zip", f"{URL}/{name}.zip?download=1", len(content), md5)


def of_archives(*archives: Archive) -> Plan:
    return Plan(Choice(None, (1,)), {one.name: one for one in archives}, [])


def of_takes(*takes: Take) -> Plan:
    return Plan(Choice(None, (1,)), {}, list(takes))


def rejected(take: Take, stage: str = "detect", reason: str = "no_face") -> RejectedTake:
    return RejectedTake.of(take.source, take.clip_id, Reject(stage, reason, f"{take.name}: so it is"))


def after(plan: Plan, folder: Folder, held: list[str]) -> None:
    """Leaves in a folder what a run of this plan that made the clips `held` would leave."""
    if held:
        write_shards(folder, [noise_clip(clip_id) for clip_id in held])
    write_rejects(folder, plan.all_rejects())
    write_record(folder, {"archives": plan.listings})


def next_run(plan: Plan, folder: Folder) -> Plan:
    anew = Plan(plan.choice, plan.archives, plan.at_hand)
    anew.take_stock(folder)
    return anew


def test_takes_at_hand_are_shared_out():
    takes = [take(f"take-{number}") for number in range(2 * FILES_A_TASK + 1)]
    work = of_takes(*takes).work()
    assert [len(one.takes) for one in work] == [FILES_A_TASK, FILES_A_TASK, 1]
    assert [one for part in work for one in part.takes] == takes


def test_what_is_held_is_not_done_again(tmp_path):
    folder = Folder.at(tmp_path)
    plan = of_takes(take("a"), take("b"))
    after(plan, folder, ["a"])
    plan = next_run(plan, folder)
    assert [one.clip_id for one in plan.work()[0].takes] == ["b"]
    write_shards(folder, [noise_clip("b")])
    assert next_run(plan, folder).work() == []


def test_a_finished_archive_is_not_fetched_again(tmp_path):
    folder, one = Folder.at(tmp_path), archive("one")
    plan = of_archives(one)
    assert [work.archive for work in plan.work()] == [one]
    plan.note_listing(one.name, [member(clip_id, one) for clip_id in TAKES])
    after(plan, folder, TAKES)
    assert next_run(plan, folder).work() == []


def test_an_archive_with_a_take_left_is_fetched_for_that_take(tmp_path):
    folder, one = Folder.at(tmp_path), archive("one")
    plan = of_archives(one)
    plan.note_listing(one.name, [member(clip_id, one) for clip_id in TAKES])
    after(plan, folder, TAKES[:2])
    [work] = next_run(plan, folder).work()
    assert work.done == set(TAKES[:2])


def test_an_archive_of_another_checksum_or_choice_is_listed_again(tmp_path):
    folder, one = Folder.at(tmp_path), archive("one")
    plan = of_archives(one)
    plan.note_listing(one.name, [member(clip_id, one) for clip_id in TAKES])
    after(plan, folder, TAKES)
    changed = of_archives(archive("one", b"other"))
    changed.take_stock(folder)
    assert len(changed.work()) == 1
    both = Plan(Choice(None, (1, 2)), plan.archives, [])
    both.take_stock(folder)
    assert len(both.work()) == 1


def test_a_take_rejected_for_what_it_is_stays_rejected(tmp_path):
    folder, one = Folder.at(tmp_path), archive("one")
    plan = of_archives(one)
    takes = [member(clip_id, one) for clip_id in TAKES]
    plan.note_listing(one.name, takes)
    plan.reject(rejected(takes[2]))
    after(plan, folder, TAKES[:2])
    plan = next_run(plan, folder)
    assert plan.work() == []
    assert [reject.clip_id for reject in plan.all_rejects()] == TAKES[2:]


@pytest.mark.parametrize("stage", ["worker", "fetch"])
def test_a_take_rejected_for_what_may_pass_is_tried_again(tmp_path, stage):
    folder, one = Folder.at(tmp_path), archive("one")
    plan = of_archives(one)
    takes = [member(clip_id, one) for clip_id in TAKES]
    plan.note_listing(one.name, takes)
    plan.reject(rejected(takes[2], stage, "timeout"))
    after(plan, folder, TAKES[:2])
    plan = next_run(plan, folder)
    assert len(plan.work()) == 1
    plan.note_listing(one.name, takes)
    plan.held.add(TAKES[2])
    assert plan.all_rejects() == []


def test_rejects_that_are_no_takes_stay_while_nothing_is_tried(tmp_path):
    folder, one = Folder.at(tmp_path), archive("one")
    plan = of_archives(one)
    plan.note_listing(one.name, [member(clip_id, one) for clip_id in TAKES])
    odd = RejectedTake.of(f"{URL}/one.zip!odd.mp4", None, Reject("archive", "unknown_name", "odd.mp4 is odd"))
    plan.reject(odd)
    after(plan, folder, TAKES)
    for _ in range(2):
        plan = next_run(plan, folder)
        assert plan.work() == []
        assert plan.all_rejects() == [odd]
        write_rejects(folder, plan.all_rejects())


def test_an_archive_that_could_not_be_fetched_is_tried_in_the_next_run(tmp_path):
    folder, one, two = Folder.at(tmp_path), archive("one"), archive("two")
    plan = of_archives(one, two)
    plan.reject(RejectedTake.of(one.name, None, Reject("fetch", "server_error", "one.zip: HTTP 500")))
    assert [work.archive for work in plan.work()] == [two]
    after(plan, folder, [])
    plan = next_run(plan, folder)
    assert [work.archive for work in plan.work()] == [one, two]
    plan.note_listing(one.name, [])
    assert plan.all_rejects() == []


def test_rejects_of_other_sources_stay(tmp_path):
    folder = Folder.at(tmp_path)
    plan = of_takes(take("a"))
    plan.reject(rejected(take("a")))
    after(plan, folder, [])
    other = of_takes(take("b"))
    other.take_stock(folder)
    assert [reject.clip_id for reject in other.all_rejects()] == ["a"]


def test_an_archive_on_a_disk_that_was_mended_is_no_reject_any_more(tmp_path):
    folder = Folder.at(tmp_path)
    plan = of_takes()
    for source in ("/videos/a.zip", "/videos/a.zip!odd.mp4", "/videos/b.zip"):
        plan.reject(RejectedTake.of(source, None, Reject("archive", "truncated_zip", "cut off")))
    after(plan, folder, [])
    mended = of_takes(Take("a", 1, 0, None, None, None, None, "/videos/a.zip", member="a.mp4"))
    mended.take_stock(folder)
    assert [reject.source for reject in mended.all_rejects()] == ["/videos/b.zip"]


def test_a_file_listed_twice_is_still_made_once(tmp_path):
    manifest = tmp_path / "takes.csv"
    manifest.write_text("path,label,actor\na.mp4,happy,1\na.mp4,happy,1\n")
    plan = make_plan(PrepareSettings(source=str(manifest)))
    [work] = plan.work()
    assert [one.clip_id for one in work.takes] == ["a"]
    assert [reject.reason for reject in plan.all_rejects()] == ["duplicate_clip"]


def test_what_killed_its_worker_is_found_by_what_is_missing():
    one, lost = archive("one"), archive("lost")
    plan = Plan(Choice(None, (1,)), {one.name: one, lost.name: lost}, [take("a"), take("b")])
    plan.note_listing(one.name, [member(clip_id, one) for clip_id in TAKES])
    plan.held = {"a", TAKES[0]}
    plan.reject(rejected(member(TAKES[1], one)))
    plan.reject_the_missing()
    found = {(reject.source, reject.reason) for reject in plan.all_rejects()}
    assert found == {
        ("/videos/b.mp4", "crashed"),
        (f"{URL}/one.zip!Actor_01/{TAKES[1]}.mp4", "no_face"),
        (f"{URL}/one.zip!Actor_01/{TAKES[2]}.mp4", "crashed"),
        ("lost.zip", "crashed"),
    }
    assert plan.work() == []


def test_a_take_given_up_is_a_timeout_unless_it_was_done_after_all():
    plan = of_takes(take("slow"), take("just-in-time"))
    plan.held = {"just-in-time"}
    plan.reject_the_slow(plan.at_hand, 120)
    [reject] = plan.all_rejects()
    assert (reject.clip_id, reject.stage, reject.reason) == ("slow", "worker", "timeout")
    assert "slow.mp4: not done after 120 s" in reject.message


def test_the_default_source_is_the_record_and_its_first_ten_actors():
    plan = make_plan(PrepareSettings())
    assert list(plan.archives) == [f"Video_Speech_Actor_{actor:02d}.zip" for actor in range(1, 11)]
    assert plan.choice == Choice(frozenset(range(1, 11)), (1,))


def test_a_mirror_is_asked_for_its_record():
    with FakeZenodo({"Video_Speech_Actor_07.zip": b"content"}) as zenodo:
        plan = make_plan(PrepareSettings(actors="7", base_url=zenodo.url))
    assert plan.archives["Video_Speech_Actor_07.zip"].bytes == 7


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"actors": "25"}, "--actors 25: RAVDESS has actors 1 to 24, not 25"),
        ({"actors": "all"}, "--actors all"),
        ({"source": "missing"}, "missing"),
        ({"source": "missing.csv"}, r"missing\.csv"),
    ],
)
def test_a_wrong_setting_is_one_line(settings, says):
    with pytest.raises(EmotionRayError, match=says) as caught:
        make_plan(PrepareSettings(**settings))
    assert "\n" not in str(caught.value)


def test_a_source_without_wanted_takes_says_so(tmp_path):
    (tmp_path / f"{TAKES[0]}.mp4").write_bytes(b"video")
    with pytest.raises(EmotionRayError, match="has no takes of --actors 2 of --modality av"):
        make_plan(PrepareSettings(source=str(tmp_path), actors="2"))
    with pytest.raises(EmotionRayError, match="has no takes of --modality video"):
        make_plan(PrepareSettings(source=str(tmp_path), modality="video"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"frames": 0}, "frames is 0"),
        ({"size": 2}, "size is 2"),
        ({"workers": 0}, "workers is 0"),
        ({"downloads": 0}, "downloads is 0"),
        ({"take_timeout_s": 0.0}, "take_timeout_s is 0"),
        ({"detector": "fast"}, "detector is 'fast'"),
        ({"modality": "audio"}, "modality is 'audio'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, says):
    with pytest.raises(EmotionRayError, match=says):
        PrepareSettings(**settings)


def test_a_manifests_takes_are_planned_by_actor(tmp_path):
    """Shards are by actor: takes in any order would make as many small ones."""
    manifest = tmp_path / "takes.csv"
    rows = [f"{number}.mp4,happy,{number % 3}" for number in range(9)]
    manifest.write_text("\n".join(["path,label,actor", *rows]))
    planned = make_plan(PrepareSettings(source=str(manifest))).at_hand
    assert [take.actor for take in planned] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [take.clip_id for take in planned] == ["0", "3", "6", "1", "4", "7", "2", "5", "8"]
