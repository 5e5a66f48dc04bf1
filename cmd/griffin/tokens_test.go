package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// A text is read as it is, also if a character comes in parts, up to the first byte that is not UTF-8.
func TestUTF8Reader(t *testing.T) {
	for _, tt := range []struct {
		text   string
		offset int64 // of what is wrong; -1 for nothing
	}{
		{"", -1}, {"a", -1}, {"Grüße, \u4e16\U0001f600\x00\ufffd", -1}, {"a\xff", 1}, {"\u00fc\xe4x", 2}, {"a\xe4\xb8", 1}, {"\xed\xa0\x80", 0},
	} {
		for _, r := range []io.Reader{strings.NewReader(tt.text), iotest.OneByteReader(strings.NewReader(tt.text)), iotest.DataErrReader(strings.NewReader(tt.text))} {
			got, err := io.ReadAll(&utf8Reader{r: r, name: "x"})
			if tt.offset < 0 {
				if err != nil || string(got) != tt.text {
					t.Errorf("%q: %q, %v", tt.text, got, err)
				}
				continue
			}
			if bad := (*tensor.FormatError)(nil); !errors.As(err, &bad) || bad.File != "x" || bad.Offset != tt.offset {
				t.Errorf("%q: %v", tt.text, err)
			}
		}
	}
}
