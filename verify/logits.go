package verify

// LogitsResult is the outcome of one comparison of logits.
type LogitsResult struct {
	OK      bool   `json:"ok"`
	Summary string `json:"summary"` // one line
}
