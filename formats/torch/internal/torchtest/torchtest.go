// Package torchtest has what the tests of the readers of distributed checkpoints share.
package torchtest

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// Digests returns the type, shape and SHA-256 of every tensor, in the form of the JSON files beside the
// samples.
func Digests(c *tensor.Checkpoint) (map[string][3]any, error) {
	all := map[string][3]any{}
	for _, t := range c.Tensors() {
		sum, err := tensor.Digest(context.Background(), t, digest.SHA256)
		if err != nil {
			return nil, err
		}
		shape := []any{}
		for _, n := range t.Shape {
			shape = append(shape, float64(n))
		}
		all[t.Name] = [3]any{t.DType.String(), shape, sum.Hex()}
	}
	return all, nil
}

// Check compares the tensors of a checkpoint with those in a JSON file.
func Check(t *testing.T, c *tensor.Checkpoint, file string) {
	t.Helper()
	var want map[string][3]any
	readJSON(t, file, &want)
	got, err := Digests(c)
	if err != nil {
		t.Fatal(err)
	}
	for name := range want {
		if !reflect.DeepEqual(got[name], want[name]) {
			t.Errorf("%s is %v, want %v", name, got[name], want[name])
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is not one of the tensors that were saved", name)
		}
	}
}

func readJSON(t *testing.T, file string, v any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Hostile opens every sample in testdata/hostile and reads it. Those that expect.json rejects are refused
// within ten seconds, on a loaded machine, for the reason in reasons, which has all of them.
func Hostile(t *testing.T, open func(dir string) (*tensor.Checkpoint, error), reasons map[string]string) {
	var expect map[string]struct{ Want string }
	readJSON(t, "testdata/hostile/expect.json", &expect)
	for name, e := range expect {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			err := read(open, filepath.Join("testdata/hostile", name))
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			reason, listed := reasons[name]
			switch {
			case e.Want == "accept" && err != nil:
				t.Error(err)
			case e.Want == "accept":
			case !IsFormatError(err):
				t.Errorf("%v is not a format error", err)
			case !listed || !strings.Contains(err.Error(), reason):
				t.Errorf("%v, want %q", err, reason)
			}
		})
	}
	for name := range reasons {
		if expect[name].Want != "reject" {
			t.Errorf("there is no sample %s that is rejected", name)
		}
	}
}

func read(open func(dir string) (*tensor.Checkpoint, error), dir string) error {
	c, err := open(dir)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = Digests(c)
	return err
}

// IsFormatError reports whether err is or wraps a *tensor.FormatError.
func IsFormatError(err error) bool {
	var bad *tensor.FormatError
	return errors.As(err, &bad)
}

// Pickle returns the pickle in a file of torch.save.
func Pickle(t testing.TB, file []byte) []byte {
	t.Helper()
	var found []byte
	repack(t, file, func(name string, content []byte) []byte {
		if strings.HasSuffix(name, "/data.pkl") {
			found = content
		}
		return content
	})
	return found
}

// WithPickle returns a file of torch.save with another pickle.
func WithPickle(t testing.TB, file, pickle []byte) []byte {
	t.Helper()
	return repack(t, file, func(name string, content []byte) []byte {
		if strings.HasSuffix(name, "/data.pkl") {
			return pickle
		}
		return content
	})
}

// repack packs the members of a zip file again, each with the content that change returns.
func repack(t testing.TB, file []byte, change func(name string, content []byte) []byte) []byte {
	t.Helper()
	in, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	var buffer bytes.Buffer
	out := zip.NewWriter(&buffer)
	for _, member := range in.File {
		r, err := member.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		w, err := out.CreateHeader(&zip.FileHeader{Name: member.Name, Method: zip.Store})
		if err == nil {
			_, err = w.Write(change(member.Name, content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}
