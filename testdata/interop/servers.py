"""Object stores on loopback for the checks: gofakes3 and fake-gcs-server, built once with Go."""

import atexit
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import griffin

MODULES = {"gofakes3": "github.com/johannesboyne/gofakes3/cmd/gofakes3@v1.2.0", "fake-gcs-server": "github.com/fsouza/fake-gcs-server@v1.56.1"}
GO = dict(os.environ)
BUCKET = "models"


def server(name):
    """The path of a server's program, built once."""
    home = os.path.join(os.environ.get("GRIFFIN_INTEROP_HOME", os.path.expanduser("~/.cache/griffin-interop")), "servers")
    path = os.path.join(home, name)
    if not os.path.exists(path):
        subprocess.run(["go", "install", MODULES[name]], check=True, env={**GO, "GOBIN": home, "GOFLAGS": "-trimpath"}, cwd="/")
    return path


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


def request(url, content=None, method="GET"):
    with urllib.request.urlopen(urllib.request.Request(url, data=content, method=method)) as answer:
        return answer.read()


class Proxy:
    """A server of files, or a proxy before a server, with the flags of testdata/interop/proxy."""

    program = None

    def __init__(self, *flags):
        if not Proxy.program:
            Proxy.program = os.path.join(tempfile.mkdtemp(), "proxy")
            atexit.register(shutil.rmtree, os.path.dirname(Proxy.program))
            subprocess.run(["go", "build", "-trimpath", "-o", Proxy.program, "./testdata/interop/proxy"], check=True, cwd=griffin.REPOSITORY, env=GO)
        self.process = subprocess.Popen([Proxy.program, *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Ends it, and sets passed to the bytes that clients got."""
        self.process.stdin.close()
        self.passed = int(self.process.stdout.readline())
        self.process.wait()


class S3:
    """gofakes3 with the bucket models."""

    def __init__(self):
        program = server("gofakes3")
        self.port = free_port()
        self.process = subprocess.Popen([program, "-host", f"127.0.0.1:{self.port}", "-backend", "memory", "-initialbucket", BUCKET],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.port)
        self.base = f"http://127.0.0.1:{self.port}/{BUCKET}"
        self.env = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}

    def address(self, key):
        return f"s3://{BUCKET}/{key}?endpoint=http://127.0.0.1:{self.port}&use_path_style=true"

    def put(self, key, content):
        request(f"{self.base}/{key}", content, "PUT")

    def get(self, key):
        return request(f"{self.base}/{key}")

    def keys(self, prefix=""):
        found, token = [], ""
        while True:
            query = {"list-type": "2", "prefix": prefix, **({"continuation-token": token} if token else {})}
            text = request(f"{self.base}?{urllib.parse.urlencode(query)}").decode()
            found += re.findall("<Key>([^<]*)</Key>", text)
            more = re.search("<NextContinuationToken>([^<]*)<", text)
            if not more:
                return found
            token = more.group(1)

    def unfinished(self):
        """Keys of unfinished uploads."""
        try:
            return re.findall("<Key>([^<]*)</Key>", request(f"{self.base}?uploads").decode())
        except urllib.error.HTTPError as e:  # the server's answer if there never was one
            if e.code == 404:
                return []
            raise

    def close(self):
        self.process.kill()
        self.process.wait()


class GCS(S3):
    """fake-gcs-server with the bucket models."""

    def __init__(self):
        program = server("fake-gcs-server")
        self.port = free_port()
        self.process = subprocess.Popen([program, "-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port), "-public-host", f"127.0.0.1:{self.port}",
                                         "-backend", "memory"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.port)
        self.base = f"http://127.0.0.1:{self.port}"
        self.env = {"STORAGE_EMULATOR_HOST": f"127.0.0.1:{self.port}"}
        request(f"{self.base}/storage/v1/b?project=p", json.dumps({"name": BUCKET}).encode(), "POST")

    def address(self, key):
        return f"gs://{BUCKET}/{key}"

    def put(self, key, content):
        request(f"{self.base}/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={urllib.parse.quote(key, safe='')}", content, "POST")

    def get(self, key):
        return request(f"{self.base}/storage/v1/b/{BUCKET}/o/{urllib.parse.quote(key, safe='')}?alt=media")

    def keys(self, prefix=""):
        found, token = [], ""
        while True:
            query = urllib.parse.urlencode({"prefix": prefix, **({"pageToken": token} if token else {})})
            page = json.loads(request(f"{self.base}/storage/v1/b/{BUCKET}/o?{query}"))
            found += [o["name"] for o in page.get("items", [])]
            token = page.get("nextPageToken")
            if not token:
                return found

    def unfinished(self):
        return []
