package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Same reports whether two values of a field mean the same. The names of some functions do.
func Same(field string, x, y any) bool {
	if field == "hidden_activation" {
		a, isNameA := x.(string)
		b, isNameB := y.(string)
		return isNameA && isNameB && model.SameActivation(a, b)
	}
	return Equal(x, y)
}

// plainValue gives numbers their value, so that 30 equals 30.0.
func plainValue(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return n
		}
		if x, err := v.Float64(); err == nil {
			return x
		}
		return string(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plainValue(v[i])
		}
		return out
	case string, bool, nil:
		return v
	}
	text, err := json.Marshal(value) // an object within a list
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}

// Equal reports whether two values are the same number, text, truth value or list.
func Equal(a, b any) bool {
	switch x := a.(type) {
	case int64:
		switch y := b.(type) {
		case int64:
			return x == y
		case float64:
			return float64(x) == y
		}
		return false
	case float64:
		switch y := b.(type) {
		case int64:
			return x == float64(y)
		case float64:
			return x == y
		}
		return false
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, Equal)
	}
	if _, isList := b.([]any); isList {
		return false
	}
	return a == b
}

// Show writes a value as JSON, cut short. A list of block types becomes RRA.
func Show(v any) string {
	if list, ok := v.([]any); ok {
		if letters := hfconfig.Letters(list); letters != "" {
			return tensor.Clip(letters)
		}
	}
	text, err := json.Marshal(v)
	if err != nil {
		return tensor.Clip(fmt.Sprint(v))
	}
	return tensor.Clip(string(text))
}
