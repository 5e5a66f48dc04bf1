package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// checked returns what is wrong with a text, with offsets without the space before it.
func checked(d *Decoder, space int) string {
	err := d.Skip()
	if err == nil {
		err = d.End()
	}
	if bad := (*tensor.FormatError)(nil); errors.As(err, &bad) {
		return fmt.Sprint(bad.Problem, bad.Offset-int64(space))
	}
	return fmt.Sprint(err)
}

// A text that is read in parts is read as one that is in memory, wherever a part ends.
func TestReader(t *testing.T) {
	for _, text := range []string{
		`{"a": [1, -2.5e-3, true, false, null, "\ud83d\ude00\n"], "ä": {"": {}}}`, `{"a": 1, "\u0061": 2}`, `[1, 02]`, `["a`, `[1`, `[{"a": nule}]`, `{"a": "\ud800"}`, `[[[[[1]]]]]`,
		"[\"\xff\"]", `["\q"]`, `[] []`, ``,
	} {
		for before := range len(text) + 2 {
			space := held - ahead - before
			whole := strings.Repeat(" ", space) + text
			want := checked(NewDecoder([]byte(whole), 4), space)
			if got := checked(NewReader(strings.NewReader(whole), 4), space); got != want {
				t.Errorf("%q behind %d bytes: %s, not %s", text, space, got, want)
			}
		}
	}
	long := "[" + strings.Repeat(`{"name": "tensor", "shape": [1, 2]}, `, 20_000) + "{}]"
	if got := checked(NewReader(iotest.HalfReader(strings.NewReader(long)), 4), 0); got != "<nil>" {
		t.Error(got)
	}
}

// A token that does not fit into what is held is refused, and is not taken for two.
func TestReaderTooLong(t *testing.T) {
	for token, refused := range map[string]bool{
		`"` + strings.Repeat("x", maxToken-2) + `"`: false, `"` + strings.Repeat("x", held) + `"`: true, strings.Repeat("1", maxToken-2): false, strings.Repeat("1", held): true,
		`"` + strings.Repeat(`\ud83d\ude00`, held/12) + `"`: true, `"` + strings.Repeat("\U0001f600", held/4) + `"`: true,
	} {
		for _, before := range []int{0, held - ahead - 2, held - ahead - 1} {
			d := NewReader(strings.NewReader(strings.Repeat(" ", before)+"["+token+",1]"), 4)
			err := d.Skip()
			var bad *tensor.FormatError
			if refused != (err != nil) || refused && (!errors.As(err, &bad) || bad.Reason != tensor.TooLarge || bad.Offset != int64(before+1+strings.Count(token[:1], `"`))) {
				t.Errorf("%.20s… of %d bytes behind %d: %v", token, len(token), before, err)
			}
		}
	}
}

// An error of the reader is not one of the text.
func TestReaderFails(t *testing.T) {
	for _, text := range []string{"", "[1, ", "[]", "[" + strings.Repeat("1,", held)} {
		d := NewReader(io.MultiReader(strings.NewReader(text), iotest.ErrReader(fs.ErrPermission)), 4)
		err := d.Skip()
		if err == nil {
			err = d.End()
		}
		if err != fs.ErrPermission {
			t.Errorf("%.10s: %v", text, err)
		}
	}
}

// The text of a value is copied, however it lies in the parts that are read.
func TestText(t *testing.T) {
	long := `{"list": [` + strings.Repeat("1, ", held) + `2]}`
	for _, tt := range []struct {
		value string
		limit int
		fits  bool
	}{{`{"a": [1, "x"]}`, 100, true}, {`"four"`, 6, true}, {`"four"`, 5, false}, {long, len(long), true}, {long, len(long) - 1, false}, {long, 10, false}} {
		for _, before := range []int{0, 5, held - ahead - 3, held - ahead, 3 * held} {
			for name, d := range map[string]*Decoder{
				"reader":  NewReader(strings.NewReader("["+strings.Repeat(" ", before)+tt.value+" , 7]"), 4),
				"decoder": NewDecoder([]byte("["+strings.Repeat(" ", before)+tt.value+" , 7]"), 4),
			} {
				var texts [][]byte
				err := d.Array(func() error {
					text, err := d.Text(tt.limit)
					texts = append(texts, text)
					return err
				})
				var bad *tensor.FormatError
				if !tt.fits && (!errors.As(err, &bad) || bad.Reason != tensor.TooLarge || bad.Offset != int64(before+1)) ||
					tt.fits && (err != nil || string(bytes.Join(texts, []byte("|"))) != tt.value+"|7") {
					t.Errorf("%s: %.20s behind %d, limit %d: %.50q, %v", name, tt.value, before, tt.limit, texts, err)
				}
			}
		}
	}
}
