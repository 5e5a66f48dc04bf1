package verify

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
)

// A record of more than 16 MiB, as that of very many tensors is, is compared to its end.
func TestLongRecord(t *testing.T) {
	settings := cases.Open(t, "odd-griffin").Settings
	// The last tensor is the last object of the list that ends before the files are listed.
	edit := func(last func([]byte) []byte) func([]byte) []byte {
		return func(text []byte) []byte {
			files := bytes.Index(text, []byte("\n  \"files\": "))
			at := bytes.LastIndex(text[:files], []byte("\n    {\n"))
			return bytes.Join([][]byte{text[:at], bytes.Repeat([]byte(" "), 17<<20), last(text[at:files]), text[files:]}, nil)
		}
	}
	for _, tt := range []struct {
		name  string
		last  func([]byte) []byte
		wrong string // in the finding
	}{
		{"as it was written", bytes.Clone, ""},
		{"another digest", replaced(`"blake3": "`, `"blake3": "00`), "other digests of 1 tensor"},
		{"another name", replaced(`"name": "`, `"name": "x`), "1 more tensor, such as x"},
	} {
		source, dir := conversionOf(t, convert.Options{To: convert.ToHF})
		rewrite(t, filepath.Join(dir, manifest.Name), edit(tt.last))
		v, err := verifyFiles(t, source, dir, Options{Settings: settings})
		if err != nil || v.Same != (tt.wrong == "") {
			t.Fatalf("%s: %+v, %v", tt.name, v, err)
		}
		if text := textsOf(v.Config.Findings); !strings.Contains(text, tt.wrong) || tt.wrong == "" && !strings.Contains(v.Config.Summary, "conversion.json agrees with the settings and the digests of ") {
			t.Errorf("%s: %s; %s", tt.name, v.Config.Summary, text)
		}
	}
}

// A record that is too large to be read, as that of very many tensors is, does not make a model another.
func TestRecordTooLarge(t *testing.T) {
	for _, tt := range []struct {
		err     *tensor.FormatError
		ok      bool
		summary string
	}{
		{tensor.Bad("is longer than 9 bytes").Because(tensor.TooLarge), true, "fields; conversion.json was not compared: it is longer than 9 bytes"},
		{tensor.Bad("is not JSON"), false, "fields; conversion.json is corrupt"},
	} {
		section := &Section{OK: true, Summary: "fields"}
		c := configSummary{section: section}
		if err := c.check(record{err: tt.err}, false); err != nil {
			t.Fatal(err)
		}
		c.finish()
		if section.OK != tt.ok || section.Summary != tt.summary || (section.Findings.Len() == 0) != tt.ok {
			t.Errorf("%v: %+v", tt.err, section)
		}
	}
}
