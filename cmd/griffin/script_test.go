package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/griffin-ckpt/griffin/cmd/internal/addresses"
	"github.com/griffin-ckpt/griffin/formats/storage/storagetest"
	"github.com/griffin-ckpt/griffin/reference"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"griffin": func() {
			registerTestAddresses(context.Background())
			os.Exit(runValidated(os.Args))
		},
	})
}

// registerTestAddresses registers the addresses of a bucket for tests, in a build with buckets.
var registerTestAddresses = func(context.Context) {}

// TestScripts runs testdata/script: each file reads as a session at a terminal, and its name says
// what it guards. $DATA is the repository's testdata, $TORCH formats/torch, $TEXTMODEL a small model with a tokenizer,
// $PUBLISHED models in the forms in which they are published. $WEB serves testdata, and $HF_ENDPOINT serves parts of it as repositories of a hub.
func TestScripts(t *testing.T) {
	data, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	textModel := filepath.Join(t.TempDir(), "textmodel")
	writeTextModel(t, data, textModel)
	published := t.TempDir()
	writePublished(t, data, published)
	web := storagetest.Start(t, http.FileServer(http.Dir(data)))
	faulty := storagetest.Start(t, &storagetest.Faulty{Handler: http.FileServer(http.Dir(data)), Fault: faultOf})
	hub := newHub(t, data).Start(t)
	changing, expiring := startChanging(t, newHub(t, data), false), startChanging(t, newHub(t, data), true)
	testscript.Run(t, testscript.Params{
		Condition: condition,
		Dir:       "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("DATA", data)
			env.Setenv(schemaDir, filepath.Join(data, "../cmd/griffin/schema"))
			env.Setenv("TORCH", filepath.Join(data, "../formats/torch"))
			env.Setenv("TEXTMODEL", textModel)
			env.Setenv("PUBLISHED", published)
			env.Setenv("WEB", web)
			env.Setenv("FAULTY", faulty)
			env.Setenv("HF_ENDPOINT", hub)
			env.Setenv("CHANGING_HUB", changing)
			env.Setenv("EXPIRING_HUB", expiring)
			env.Setenv("BLOBDIR", filepath.Join(env.WorkDir, "bucket"))
			env.Setenv("HF_HOME", filepath.Join(env.WorkDir, "hf-home"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status": wantStatus,
			"schema": wantSchema,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// condition is true for [buckets] if addresses of buckets are built in, and for [fast] if the processor multiplies bfloat16.
func condition(name string) (bool, error) {
	switch name {
	case "buckets":
		return addresses.HasBuckets(), nil
	case "fast":
		return reference.FastIsFaster(), nil
	}
	return false, fmt.Errorf("no condition %s", name)
}

// wantStatus runs griffin and checks its exit status: status N argument… What it printed is then
// matched by stdout and stderr, as after exec.
func wantStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N argument…")
	}
	code := exitOK
	var exit *exec.ExitError
	if err := ts.Exec("griffin", args[1:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if want := args[0]; want != strconv.Itoa(code) {
		ts.Fatalf("exit status %d, want %s", code, want)
	}
}

// newHub returns a hub with repositories made of testdata.
func newHub(t *testing.T, data string) *storagetest.Hub {
	h := storagetest.NewHub()
	for name, dir := range map[string]string{"org/tiny": "tiny-griffin/hf", "org/original": "tiny-griffin/original", "org/private": "tiny-griffin/hf",
		"org/run": "tiny-griffin/original/orbax-ocdbt"} {
		contents := map[string][]byte{}
		root := os.DirFS(filepath.Join(data, filepath.FromSlash(dir)))
		err := fs.WalkDir(root, ".", func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				contents[path], err = fs.ReadFile(root, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if name == "org/run" { // two steps
			steps := map[string][]byte{}
			for path, content := range contents {
				steps["train/2/"+path], steps["train/10/"+path] = content, content
			}
			contents = steps
		}
		repo, _ := h.Add(name, contents)
		repo.Private = name == "org/private"
	}
	return h
}

// startChanging starts a hub whose files change after their first bytes were sent. The other host, which has large files, gives another ETag
// then. With linked, it forbids the address that it had, and the hub announces another X-Linked-Etag with the next one.
func startChanging(t *testing.T, h *storagetest.Hub, linked bool) string {
	var resolved sync.Map // paths that the hub has redirected
	var again atomic.Bool // one of them for the second time
	h.UseStorage(storagetest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first := strings.HasPrefix(r.Header.Get("Range"), "bytes=0-")
		switch {
		case first || again.Load():
		case linked:
			http.Error(w, "the address has expired", http.StatusForbidden)
			return
		default:
			w = &relabelled{w, "ETag"}
		}
		h.Storage().ServeHTTP(w, r)
	})))
	return storagetest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, known := resolved.LoadOrStore(r.URL.Path, true); known && linked && strings.Contains(r.URL.Path, "/resolve/") {
			again.Store(true)
			w = &relabelled{w, "X-Linked-Etag"}
		}
		h.ServeHTTP(w, r)
	}))
}

// relabelled gives an answer another version in a header, if it has that header.
type relabelled struct {
	http.ResponseWriter
	header string
}

func (r *relabelled) WriteHeader(status int) {
	if r.Header().Get(r.header) != "" {
		r.Header().Set(r.header, `"another"`)
	}
	r.ResponseWriter.WriteHeader(status)
}

// faultOf chooses what is wrong with an answer by the query: ?fault=drop.
func faultOf(r *http.Request) storagetest.Fault {
	var from, to int64
	fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to)
	first, large := from == 0, to-from > 20_000
	switch fault := r.URL.Query().Get("fault"); {
	case fault == "changing" && !first:
		return storagetest.Renamed
	case fault == "large" && !first:
		return storagetest.Whole
	case large && (fault == "drop" || fault == "short"):
		return map[string]storagetest.Fault{"drop": storagetest.Drop, "short": storagetest.Short}[fault]
	default:
		return map[string]storagetest.Fault{"403": storagetest.Forbidden, "busy": storagetest.BusyLong,
			"whole": storagetest.Whole}[fault]
	}
}
