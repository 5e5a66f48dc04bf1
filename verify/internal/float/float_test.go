package float

import (
	"encoding/json"
	"math"
	"testing"
)

// What is not finite has no number in JSON; it is read back as it was.
func TestNumberInJSON(t *testing.T) {
	for _, tt := range []struct {
		x    float64
		text string
	}{
		{1.5, "1.5"}, {0, "0"}, {math.NaN(), `"NaN"`}, {math.Inf(1), `"Infinity"`}, {math.Inf(-1), `"-Infinity"`},
	} {
		text, err := json.Marshal(Number(tt.x))
		if err != nil || string(text) != tt.text {
			t.Errorf("%v is %s, %v; want %s", tt.x, text, err, tt.text)
		}
		var back Number
		if err := json.Unmarshal([]byte(tt.text), &back); err != nil || float64(back) != tt.x && !math.IsNaN(tt.x) || math.IsNaN(float64(back)) != math.IsNaN(tt.x) {
			t.Errorf("%s is read as %v, %v", tt.text, back, err)
		}
	}
	var x Number
	if err := json.Unmarshal([]byte(`"many"`), &x); err == nil {
		t.Errorf("text that is no number is read as %v", x)
	}
}
