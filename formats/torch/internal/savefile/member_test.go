package savefile

import (
	"bytes"
	"compress/flate"
	"io"
	"strings"
	"testing"
)

// TestInflater reads deflated data of ten bytes that is sound, goes on, or breaks off, in pieces of every size.
func TestInflater(t *testing.T) {
	deflated := func(text string, finish func(*flate.Writer) error) []byte {
		var b bytes.Buffer
		w, err := flate.NewWriter(&b, flate.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := finish(w); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	const text = "0123456789"
	for name, c := range map[string]struct {
		stored []byte
		want   string // of the error, "" for none
	}{
		"sound":      {deflated(text, (*flate.Writer).Close), ""},
		"no end":     {deflated(text, (*flate.Writer).Flush), "has no end"},
		"too long":   {deflated(text+"x", (*flate.Writer).Close), "more than its 10 bytes"},
		"too short":  {deflated(text[:9], (*flate.Writer).Close), "1 bytes less than its size"},
		"cut":        {deflated(text, (*flate.Writer).Flush)[:6], "less than its size"},
		"other data": {[]byte{0xff, 0xff, 0xff, 0xff}, "not deflated data"},
		"other end":  {append(deflated(text, (*flate.Writer).Flush), 0xff, 0xff), "not deflated data"},
	} {
		for size := 1; size <= 12; size++ {
			m := &member{name: "a/data/0", container: &container{file: bytes.NewReader(c.stored)}, stored: int64(len(c.stored)), size: 10, deflated: true}
			got, err := inPieces(m.open(), size)
			switch {
			case c.want == "" && (err != nil || got != text):
				t.Errorf("%s, pieces of %d: %q, %v", name, size, got, err)
			case c.want != "" && err == nil:
				t.Errorf("%s, pieces of %d: no error", name, size)
			case c.want != "":
				mustBeFormatError(t, err)
				if !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s, pieces of %d: %v, not %q", name, size, err, c.want)
				}
			}
		}
	}
}

// inPieces reads everything, at most size bytes at a time.
func inPieces(r io.Reader, size int) (string, error) {
	var all []byte
	for piece := make([]byte, size); ; {
		n, err := r.Read(piece)
		all = append(all, piece[:n]...)
		if err == io.EOF {
			return string(all), nil
		}
		if err != nil {
			return "", err
		}
	}
}
