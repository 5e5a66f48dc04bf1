package verify

import (
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

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
		if err := c.check(record{err: tt.err}); err != nil {
			t.Fatal(err)
		}
		c.finish()
		if section.OK != tt.ok || section.Summary != tt.summary || (section.Findings.Len() == 0) != tt.ok {
			t.Errorf("%v: %+v", tt.err, section)
		}
	}
}
