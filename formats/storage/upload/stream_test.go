package upload

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/storage/storagetest"
)

// Small files are kept in memory only as long as they are few.
func TestManySmallFiles(t *testing.T) {
	m := storagetest.NewStore()
	u, err := New(pool(t), m, "out", false).Begin(publish.SinkOptions{Last: "last"})
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("content "), 3<<17) // 3 MiB
	for i := range 10 {
		name := fmt.Sprint(i)
		if i%2 == 0 {
			w, err := u.Stream(name, 100<<20)
			if err == nil {
				_, err = w.Write(content)
			}
			if err == nil {
				err = w.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		w, err := u.Create(name, int64(len(content)))
		if err == nil {
			_, err = w.WriteAt(content, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if kept := u.(*upload).kept; kept > mostKept || kept < int64(len(content)) {
		t.Errorf("%d bytes are kept", kept)
	}
	if w, err := u.Create("last", 1); err != nil {
		t.Fatal(err)
	} else if _, err := w.WriteAt([]byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	if err := u.Publish(); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if m.Objects[fmt.Sprint("out/", i)] != string(content) {
			t.Errorf("file %d has %d bytes", i, len(m.Objects[fmt.Sprint("out/", i)]))
		}
	}
}
