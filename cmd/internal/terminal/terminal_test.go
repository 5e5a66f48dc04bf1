package terminal

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func TestWithOutcomes(t *testing.T) {
	const verdict = `structure      ok    99 tensors
weights        FAIL  1 tensor differs
               ok    an indented line
logits         -     skipped
result   different: 3 tensors
result   equal

not the same model
not proven: the recording is not finite
the same model, rounded to float16
the weights are the same model
`
	const want = "structure      \x1b[32mok\x1b[0m    99 tensors\n" +
		"weights        \x1b[1;31mFAIL\x1b[0m  1 tensor differs\n" +
		"               ok    an indented line\n" +
		"logits         -     skipped\n" +
		"result   \x1b[1;31mdifferent\x1b[0m: 3 tensors\n" +
		"result   \x1b[32mequal\x1b[0m\n\n" +
		"\x1b[1;31mnot the same model\x1b[0m\n" +
		"\x1b[33mnot proven\x1b[0m: the recording is not finite\n" +
		"\x1b[32mthe same model\x1b[0m, rounded to float16\n" +
		"the weights are the same model\n"
	if got := string(WithOutcomes([]byte(verdict))); got != want {
		t.Errorf("got %q", got)
	}
}

func TestColourful(t *testing.T) {
	for _, tt := range []struct {
		env  string
		want bool
	}{
		{"", false}, // no terminal
		{"CLICOLOR_FORCE=1", true},
		{"CLICOLOR_FORCE=0", false},
		{"CLICOLOR_FORCE=1 NO_COLOR=1", false},
		{"CLICOLOR_FORCE=1 CLICOLOR=0", true},
	} {
		t.Run(tt.env, func(t *testing.T) {
			for _, name := range []string{"NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"} {
				t.Setenv(name, "")
			}
			for _, set := range strings.Fields(tt.env) {
				name, value, _ := strings.Cut(set, "=")
				t.Setenv(name, value)
			}
			if got := Colourful(&bytes.Buffer{}); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

// clock is a time that a test sets.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

func TestPlainProgress(t *testing.T) {
	var out bytes.Buffer
	c := &clock{time.Unix(0, 0)}
	p := newProgress(&out, Plain, "converting", 5_370_000_000, tensor.SizeString, c.now)
	for range 300 { // 30 seconds
		c.Time = c.Add(100 * time.Millisecond)
		p.Add(1_000_000)
	}
	p.Done()
	const want = "converting: 100.00 MB of 5.37 GB, 10.00 MB/s, 8m47s left\n" +
		"converting: 200.00 MB of 5.37 GB, 10.00 MB/s, 8m37s left\n" +
		"converting: 300.00 MB of 5.37 GB, 10.00 MB/s, 8m27s left\n"
	if out.String() != want {
		t.Errorf("got %s", &out)
	}
}

// Other units than bytes are written as their text has them, the rate too.
func TestCount(t *testing.T) {
	var out bytes.Buffer
	c := &clock{time.Unix(0, 0)}
	p := newProgress(&out, Plain, "scoring", 5000, func(n int64) string { return fmt.Sprint(n, " tokens") }, c.now)
	for range 10 {
		c.Time = c.Add(time.Second)
		p.Add(256)
	}
	if want := "scoring: 2560 tokens of 5000 tokens, 256 tokens/s, 9.5 s left\n"; out.String() != want {
		t.Errorf("got %s", &out)
	}
}

// The count may reach its total before the task ends. The line of progress then says "finishing", without a full bar or a time left.
func TestFinishing(t *testing.T) {
	var out bytes.Buffer
	c := &clock{time.Unix(0, 0)}
	p := newProgress(&out, Auto, "running", 2_060_000, tensor.SizeString, c.now)
	for range 2 {
		c.Time = c.Add(redrawEvery)
		p.Add(1_000_000)
	}
	shown.Store(1) // as if the terminal had a width
	p.Set(2_060_000)
	p.Done()
	if drawn := strings.Count(out.String(), "\r"); drawn != 3 {
		t.Errorf("%d lines were drawn: %q", drawn, &out)
	}
	if line := p.line(79, 1); line != "running  2.06 MB of 2.06 MB, finishing" {
		t.Errorf("%q", line)
	}
}

// Where it is not known how much there is, the line says how much is done.
func TestUnknownTotal(t *testing.T) {
	p := newProgress(&bytes.Buffer{}, Auto, "looking", -1, tensor.SizeString, time.Now)
	p.done = 2_060_000
	for columns, want := range map[int]string{79: "looking  2.06 MB, 1.00 MB/s", 10: "2.06 MB", 5: ""} {
		if line := p.line(columns, 1e6); line != want {
			t.Errorf("%d columns: %q", columns, line)
		}
	}
}

// The line fits into every width, and a wider terminal shows as much as a narrower one.
func TestLineFits(t *testing.T) {
	c := &clock{time.Unix(0, 0)}
	p := newProgress(&bytes.Buffer{}, Auto, "comparing logits", 5_370_000_000, tensor.SizeString, c.now)
	for _, p.done = range []int64{0, 1, 3_210_000_000, 5_370_000_000, 6_000_000_000} {
		most := 0
		for columns := range 200 {
			line := p.line(columns, 812e6)
			if len(line) > columns || strings.Count(line, "of")+strings.Count(line, "left") < most {
				t.Errorf("%d columns: %q", columns, line)
			}
			most = max(most, strings.Count(line, "of")+strings.Count(line, "left"))
		}
	}
	p.done = 3_210_000_000
	for columns, want := range map[int]string{
		0:  "",
		4:  "59%",
		20: "3.21 GB of 5.37 GB",
		30: "3.21 GB of 5.37 GB, 2.7 s left",
		60: "3.21 GB of 5.37 GB, 812.00 MB/s, 2.7 s left",
		79: "comparing logits  [=======      ]  3.21 GB of 5.37 GB, 812.00 MB/s, 2.7 s left",
	} {
		if got := p.line(columns, 812e6); got != want {
			t.Errorf("%d columns: got %q, want %q", columns, got, want)
		}
	}
}

// Progress that is not to be shown is nil, which has the same methods.
func TestNoProgress(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, p := range []*Progress{NewProgress(file, "reading", 10), NewProgress(&Output{file, None}, "reading", 10), NewProgress(&Output{file, Plain}, "reading", 0)} {
		if p != nil {
			t.Error("progress is shown")
		}
		p.Add(1)
		p.Set(1)
		p.Done()
	}
	if NewProgress(&Output{file, Plain}, "reading", 10) == nil {
		t.Error("no progress in a log")
	}
}

func TestDuration(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0.0 s"}, {96 * time.Millisecond, "0.1 s"}, {9900 * time.Millisecond, "9.9 s"}, {54400 * time.Millisecond, "54 s"},
		{59900 * time.Millisecond, "1m00s"}, {114 * time.Second, "1m54s"}, {3599600 * time.Millisecond, "1h00m"}, {2*time.Hour + 5*time.Minute, "2h05m"},
	} {
		if got := Duration(tt.d); got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.d, got, tt.want)
		}
	}
}

// A process that ends removes the line that a progress has left, once.
func TestClear(t *testing.T) {
	var out bytes.Buffer
	shown.Store(3)
	Clear(&out)
	Clear(&out)
	if out.String() != "\r   \r" {
		t.Errorf("%q", out.String())
	}
}
