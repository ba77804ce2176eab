import asyncio
import threading
import time

import pytest
from portrait_video import portrait_video
from served import client, problem, store_model, upload
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from emotion_ray.service import work as module
from emotion_ray.service.metrics import Unmeasured
from emotion_ray.service.problems import Problem
from emotion_ray.service.uploads import read_upload
from emotion_ray.service.work import Places, Work
from emotion_ray.settings import ServeLimits


@pytest.fixture
def root(tmp_path):
    store_model(tmp_path, "tiny")
    return tmp_path


def jobs_of(at_once: int = 1, limit_s: float = 5.0) -> Work:
    return Work(at_once, limit_s, Unmeasured())


def test_a_full_queue_is_told_at_once_and_when_to_come_again(root, monkeypatch):
    free, running = threading.Event(), threading.Semaphore(0)

    def slow(*_):
        running.release()
        free.wait(20)
        return {"timings": {}}

    monkeypatch.setattr("emotion_ray.service.app.predict", slow)
    with client(root, queue=2) as connected:
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(upload(connected, b"x"))) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert running.acquire(timeout=5)
        deadline = time.monotonic() + 5
        while connected.service.queue.taken < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        began = time.monotonic()
        refused = upload(connected, b"x")
        assert time.monotonic() - began < 1
        problem(refused, 429, "busy")
        assert int(refused.headers["retry-after"]) >= 1
        assert connected.get("/healthz").status_code == 200
        assert connected.get("/").status_code == 200
        free.set()
        for thread in threads:
            thread.join(10)
        assert [answer.status_code for answer in answers] == [200] * 3
        assert upload(connected, b"x").status_code == 200


def test_jobs_run_so_many_at_a_time_in_the_order_they_came():
    order, most, running = [], 0, 0
    lock = threading.Lock()

    def note(number):
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
            order.append(number)
        time.sleep(0.02)
        with lock:
            running -= 1

    async def all_of_them():
        work = jobs_of(at_once=2)
        await asyncio.gather(*(work.run(lambda job, number=number: note(number)) for number in range(8)))
        work.close()

    asyncio.run(all_of_them())
    assert most == 2 and sorted(order) == list(range(8)) and order[0] in (0, 1) and order[-1] in (6, 7)


def test_a_job_ends_when_its_time_is_up(root):
    with client(root, time_limit_s=0.1) as connected:
        detail = problem(upload(connected, portrait_video(frames=200)), 422, "time_limit")
        assert "0.1 s" in detail
        assert not connected.service.hangs
        deadline = time.monotonic() + 5
        while connected.service.uploads._running and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not connected.service.uploads._running


def test_a_job_that_hangs_is_told_of_and_does_not_keep_its_caller(monkeypatch):
    monkeypatch.setattr(module, "GRACE_S", 0.1)
    free = threading.Event()

    async def hang():
        work = jobs_of(limit_s=0.1)
        with pytest.raises(Problem, match="time_limit"):
            await work.run(lambda job: free.wait(10))
        assert not work.hangs
        await asyncio.sleep(0.25)
        assert work.hangs
        free.set()
        assert await work.run(lambda job: 7) == 7
        assert not work.hangs
        work.close()

    asyncio.run(hang())


def test_a_caller_that_goes_away_ends_its_job():
    ended = threading.Event()

    def on_and_on(job):
        try:
            while True:
                job.check()
                time.sleep(0.01)
        finally:
            ended.set()

    async def leave():
        work = jobs_of(limit_s=30.0)
        asked = asyncio.create_task(work.run(on_and_on))
        await asyncio.sleep(0.1)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert await asyncio.to_thread(ended.wait, 5)
        work.close()

    asyncio.run(leave())


def test_an_upload_that_trickles_in_is_cut_off(root):
    class Slowly:
        """A request whose body never ends."""

        headers = Headers({"content-type": "multipart/form-data; boundary=x"})

        async def stream(self):
            yield b'--x\r\nContent-Disposition: form-data; name="video"; filename="v"\r\n\r\n'
            yield bytes(1000)
            await asyncio.sleep(60)

    began = time.monotonic()
    with pytest.raises(Problem) as caught:
        asyncio.run(read_upload(Slowly(), ServeLimits(upload_limit_s=0.2)))
    assert caught.value.status == 408 and time.monotonic() - began < 5


def test_an_upload_that_breaks_off_is_no_error_of_ours():
    class BrokenOff:
        headers = Headers({"content-type": "multipart/form-data; boundary=x"})

        async def stream(self):
            yield b'--x\r\nContent-Disposition: form-data; name="video"; filename="v"\r\n\r\n'
            raise ClientDisconnect

    with pytest.raises(Problem) as caught:
        asyncio.run(read_upload(BrokenOff(), ServeLimits()))
    assert (caught.value.status, caught.value.reason) == (400, "cut_off")


def test_no_place_at_all_is_a_full_queue():
    with pytest.raises(Problem, match="busy"), Places(0, "none").place():
        pass


def test_the_jobs_that_wait_are_measured():
    told = []

    class Noted(Unmeasured):
        def waiting(self, uploads):
            told.append(uploads)

    async def three():
        work = Work(1, 5.0, Noted())
        await asyncio.gather(*(work.run(lambda job: time.sleep(0.02)) for _ in range(3)))
        work.close()

    asyncio.run(three())
    assert max(told) == 2 and told[-1] == 0
