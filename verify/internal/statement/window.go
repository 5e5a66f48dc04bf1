package statement

import (
	"encoding/json"
	"strconv"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Window returns the attention_window_size that transformers takes from the config.json of a checkpoint; 0 if it has none that can be read.
func Window(c *tensor.Checkpoint) int64 {
	fields, err := hfconfig.Fields(c.Source, c.Beside(hfconfig.Name))
	if err != nil {
		return 0
	}
	for _, name := range hfconfig.WindowNames {
		if n, ok := fields[name].(json.Number); ok {
			size, _ := strconv.ParseInt(string(n), 10, 64)
			return size
		}
	}
	return 0
}

// RecordedWindow is the attention_window_size that a config.json should have, as a record with settings says.
func RecordedWindow(record *manifest.Record) int64 {
	window := record.Settings.AttentionWindow
	if matched(record) != convert.NoRuntime {
		window++
	}
	return window
}

// matched returns the runtimes for which a record says that the window was written one larger.
func matched(record *manifest.Record) convert.Runtimes {
	form := record.HuggingFace
	if form == nil {
		return convert.NoRuntime
	}
	if set, err := convert.ParseRuntimes(form.MatchRuntime); err == nil && set&(convert.Transformers5|convert.MLX) != 0 {
		return set
	}
	return convert.NoRuntime
}

// Windows returns the attention windows that the original of a conversion may have, which m was found in: that of its conversion.json, unless its config.json
// has neither that nor the one that it records, or else that of config.json and one less. It is nil if nothing states any. Windows that are not accepted
// state nothing, so that config.json decides; nor does one that was assumed, unless one more was written.
func Windows(m *model.Model, accepts func(window int64) bool) (windows []int64, isRecorded bool) {
	stated, err := m.StatedConfig()
	if err != nil {
		return nil, false
	}
	if record := recordOf(m); record != nil && Recorded(record) != nil && record.Layout == m.Layout.String() && accepts(record.Settings.AttentionWindow) {
		window, written := record.Settings.AttentionWindow, RecordedWindow(record)
		if (stated == nil || stated.AttentionWindowSize == written) && (!record.Settings.WindowAssumed || written > window) {
			return []int64{window}, true
		}
	}
	if stated == nil {
		return nil, false
	}
	for _, w := range []int64{stated.AttentionWindowSize, stated.AttentionWindowSize - 1} {
		if accepts(w) {
			windows = append(windows, w)
		}
	}
	return windows, false
}

// WasMatched reports whether the conversion.json of a model records that its directory was written with one more than that window. m may be nil.
func WasMatched(m *model.Model, window int64) bool {
	record := recordOf(m)
	return record != nil && record.Settings != nil && record.Settings.AttentionWindow == window && RecordedWindow(record) == window+1
}

// Match returns the runtimes that a directory whose window is one larger was written to match, as its conversion.json has them; transformers 5
// without such a record. m may be nil.
func Match(m *model.Model) convert.Runtimes {
	if record := recordOf(m); record != nil {
		if set := matched(record); set != convert.NoRuntime {
			return set
		}
	}
	return convert.Transformers5
}

// recordOf returns the conversion.json of a model; nil if there is none that can be read.
func recordOf(m *model.Model) *manifest.Record {
	if m == nil {
		return nil
	}
	record, _, err := m.Manifest()
	if err != nil {
		return nil
	}
	return record
}
