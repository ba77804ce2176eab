import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from emotion_ray import doctor
from emotion_ray.cli import main
from emotion_ray.doctor import Finding


def test_each_finding_is_told_with_what_to_do(tmp_path, capsys):
    code = main(["doctor", "--root", str(tmp_path), "--json"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert code == int(any(one["status"] == "fail" for one in findings))
    names = [one["name"] for one in findings]
    assert names == [
        "Python", "packages", "CPU", "GPU", "memory", "storage", "Ray", "token", "ports", "decoders", "encoder",
        "weights", "models",
    ]  # fmt: skip
    for one in findings:
        assert one["detail"]
        assert one["status"] == "ok" or one["advice"]
    by_name = {one["name"]: one for one in findings}
    assert by_name["packages"]["status"] == by_name["weights"]["status"] == by_name["decoders"]["status"] == "ok"
    assert "torch " in by_name["packages"]["detail"]
    assert str(tmp_path) in by_name["storage"]["detail"]


def test_a_failure_is_exit_code_1(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(doctor, "packages", lambda: Finding("packages", "fail", "ray [missing]", "install it"))
    assert main(["doctor", "--root", str(tmp_path)]) == 1
    output = capsys.readouterr()
    assert output.err == "emotion-ray: something will not run: packages; do what the findings say\n"
    assert "ray [missing]" in output.out
    assert "install it" in output.out


def test_all_well_is_exit_code_0(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda root: [Finding("models", "ok", f"in {root}")])
    assert main(["doctor", "--root", str(tmp_path)]) == 0
    assert "fail" not in capsys.readouterr().out


def test_a_package_that_is_missing_or_too_old(monkeypatch):
    monkeypatch.setattr(
        doctor, "requires", lambda _: ["numpy>=99", "nothing-of-the-kind>=1", "pyarrow", "x; extra=='y'"]
    )
    found = doctor.packages()
    assert found.status == "fail"
    assert found.detail == f"numpy {doctor.version('numpy')}, nothing-of-the-kind missing"


def test_one_cpu_is_few(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert doctor.processors().status == "warn"


@pytest.mark.parametrize(("free_kb", "status"), [(10**6, "fail"), (4 * 10**6, "warn"), (64 * 10**6, None)])
def test_memory_that_is_short(free_kb, status, monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda _: f"MemTotal: 1 kB\nMemAvailable: {free_kb} kB\n")
    found = doctor.memory()
    assert found.status == status if status else found.status in ("ok", "warn")
    assert f"{free_kb * 1024 / 1e9:.1f} GB free" in found.detail


def test_a_root_that_can_not_be_written(tmp_path, tmpfs):
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below", tmpfs("size=64k") / "x"):
        found = doctor.storage(str(root))
        assert found.status == "fail"
        assert "--root" in found.advice
    assert doctor.storage("nowhere://there").status == "fail"
    assert not (tmp_path / "x").exists()


def test_a_token_that_others_can_read(tmp_path, monkeypatch):
    token = tmp_path / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    assert doctor.token().status == "ok"
    token.write_text("planted-secret")
    token.chmod(0o644)
    found = doctor.token()
    assert (found.status, found.advice) == ("warn", f"chmod 600 {token}")
    assert "planted" not in found.detail
    token.chmod(stat.S_IRUSR | stat.S_IWUSR)
    assert doctor.token().status == "ok"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert doctor.token().status == "warn"


def test_a_port_that_is_taken(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        monkeypatch.setattr(doctor, "PORTS", {port: "serve"})
        assert doctor.ports().detail == f"taken: {port} (serve)"
    assert doctor.ports().status == "ok"


def test_codecs_that_are_missing(monkeypatch):
    monkeypatch.setattr(doctor, "DECODERS", {"h264": "fail", "no-such-codec": "warn"})
    assert doctor.decoders().status == "warn"
    assert doctor.decoders().detail == "missing: no-such-codec"
    monkeypatch.setattr(doctor, "DECODERS", {"no-such-codec": "fail"})
    assert doctor.decoders().status == "fail"


@pytest.mark.slow
def test_no_ray_is_imported_or_started(tmp_path):
    script = (
        "import sys\nfrom emotion_ray.doctor import examine\n"
        f"examine({str(tmp_path / 'root')!r})\nassert 'ray' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.iterdir())
