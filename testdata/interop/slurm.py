"""Converts every step of a run in a bucket by an array of a real Slurm: python.sh current slurm.py

Starts munged, slurmctld and slurmd (Debian's slurm-wlm and munge, as root) on loopback, and gofakes3 as the bucket. Then
testdata/recipes/slurm.sh is submitted for 20 steps. One task is killed while it converts and requeued. In the end
every step is there, with the bytes of a local conversion, and nothing else.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import family
import griffin
import servers
import sinks_data

STEPS = 20
VICTIM = 7  # index of the step whose task is killed
CONFIG = """
ClusterName=griffin
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
AuthType=auth/munge
AuthInfo=socket={home}/munge/socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmUser=root
SlurmdUser=root
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd.log
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SlurmctldTimeout=300
SlurmdTimeout=300
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """A cluster of one node."""

    def __init__(self, home):
        self.home, self.running = home, []
        os.makedirs(home)
        os.chmod(os.path.dirname(home), 0o755)  # munged runs as another user
        for name in ("munge", "state", "spool"):
            os.makedirs(f"{home}/{name}", mode=0o755)
        with open(f"{home}/munge/key", "wb") as f:
            f.write(random.randbytes(128))
        os.chmod(f"{home}/munge/key", 0o400)
        for path in (f"{home}/munge", f"{home}/munge/key"):
            shutil.chown(path, "munge", "munge")
        with open(f"{home}/slurm.conf", "w") as f:
            f.write(CONFIG.format(host=socket.gethostname().split(".")[0], home=home, controller=servers.free_port(), daemon=servers.free_port()))
        self.env = {**os.environ, "SLURM_CONF": f"{home}/slurm.conf"}
        try:
            self.begin()
        except BaseException:
            self.close()
            raise

    def begin(self):
        home = self.home
        self.start("runuser", "-u", "munge", "--", "munged", "--foreground", f"--key-file={home}/munge/key", f"--socket={home}/munge/socket",
                   f"--pid-file={home}/munge/pid", f"--log-file={home}/munge/log", f"--seed-file={home}/munge/seed", "--force")
        self.wait(lambda: os.path.exists(f"{home}/munge/socket"), "munged")
        self.start("slurmctld", "-D", "-f", f"{home}/slurm.conf")
        self.start("slurmd", "-D", "-f", f"{home}/slurm.conf")
        self.wait(lambda: "idle" in self.command("sinfo", "-h", "-o", "%T", check=False), "the node")

    def start(self, *argv):
        log = open(f"{self.home}/{os.path.basename(argv[0])}.out", "wb")
        self.running.append(subprocess.Popen(argv, env=self.env, stdout=log, stderr=log))

    def command(self, *argv, check=True):
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise griffin.Failed(f"{' '.join(argv)}: {done.stderr.strip()}")
        return done.stdout

    def wait(self, ready, what, limit=60):
        for _ in range(limit * 10):
            if ready():
                return
            time.sleep(0.1)
        logs = "".join(open(f"{self.home}/{name}").read()[-1500:] for name in ("slurmctld.log", "slurmd.log") if os.path.exists(f"{self.home}/{name}"))
        raise griffin.Failed(f"waited {limit} s for {what}\n{logs}")

    def close(self):
        for p in reversed(self.running):
            p.terminate()
        for p in self.running:
            try:
                p.wait(20)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()


def pid_of(step):
    """The process of griffin that works on the share of a task, 0 if there is none."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                env = f.read().split(b"\0")
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                command = f.read().split(b"\0")
        except OSError:
            continue
        if b"SLURM_ARRAY_TASK_ID=%d" % step in env and b"--all-steps" in command and os.path.basename(command[0]) == b"griffin":
            return int(pid)
    return 0


def main():
    score = griffin.Score("slurm")
    with tempfile.TemporaryDirectory(prefix="griffin-slurm-") as home:
        store = servers.S3()
        slurm = None
        try:
            sources = {}
            for i in range(STEPS):
                config = sinks_data.LARGE if i == VICTIM else family.CASES["micro-griffin"]
                sources[(i + 1) * 100] = f"{home}/train/{(i + 1) * 100}"
                sinks_data.make(config, SEED + i, sources[(i + 1) * 100])
            for step, directory in sources.items():
                for name in os.listdir(directory):
                    with open(f"{directory}/{name}", "rb") as f:
                        store.put(f"train/{step}/{name}", f.read())
            os.environ.update(store.env)
            os.environ["PATH"] = f"{os.path.dirname(griffin.BINARY)}:{os.environ['PATH']}"
            slurm = Slurm(f"{home}/slurm")
            job = slurm.command("sbatch", "--parsable", "--cpus-per-task=1", "--mem=0", f"--output={home}/%a.out", f"{griffin.REPOSITORY}/testdata/recipes/slurm.sh",
                                store.address("train"), store.address("out"), "--to", "torch").strip()

            slurm.wait(lambda: pid_of(VICTIM), f"task {VICTIM}", 120)
            slurm.wait(lambda: any("upload" in k for k in store.keys("out/")), "the upload of that task", 30)
            os.kill(pid_of(VICTIM), signal.SIGKILL)
            state = lambda: slurm.command("squeue", "-h", "-j", f"{job}_{VICTIM}", "-o", "%T", check=False)
            slurm.wait(lambda: pid_of(VICTIM) == 0, "its end")
            score.check("the killed task left no result", "it did" if f"out/{(VICTIM + 1) * 100}.pt" in store.keys("out/") else "")
            score.check("the killed task left its record", "" if any(".griffin-upload" in k for k in store.keys("out/")) else "it did not")
            slurm.wait(lambda: state().strip() in ("", "FAILED", "COMPLETING", "NODE_FAIL"), "its state")
            time.sleep(1)
            slurm.command("scontrol", "requeue", f"{job}_{VICTIM}")
            slurm.wait(lambda: not slurm.command("squeue", "-h", "-j", job, check=False).strip(), "the array", 300)

            for step, directory in sources.items():
                def equal(step=step, directory=directory):
                    griffin.convert(directory, f"{home}/local/{step}.pt", "--to", "torch")
                    with open(f"{home}/local/{step}.pt", "rb") as f:
                        return "" if f.read() == store.get(f"out/{step}.pt") else "another result"
                score.attempt(f"step {step}", equal)
            expected = sorted(f"out/{step}.pt{suffix}" for step in sources for suffix in ("", ".conversion.json"))
            score.check("nothing else is there", griffin.differences(dict.fromkeys(expected, 1), dict.fromkeys(store.keys("out/") + store.unfinished(), 1)))
            griffin.run("convert", "--all-steps", "--to", "torch", store.address("train"), store.address("out"))
            if score.failed:
                for name in sorted(os.listdir(home)):
                    if name.endswith(".out"):
                        print(f"== task {name}\n{open(f'{home}/{name}').read()}")
        finally:
            if slurm:
                slurm.close()
            store.close()
    score.finish()


SEED = int(sys.argv[1]) if len(sys.argv) > 1 else random.SystemRandom().randrange(1 << 32)
print(f"seed {SEED}")
main()
