package verify

// Fault is a place where the model and the fixture part, and that is at fault itself.
type Fault struct {
	Block   int      `json:"block"`           // -1 for the embedding, the number of blocks for the final norm and the logits
	Half    string   `json:"half,omitempty"`  // "temporal" or "mlp"; "" where the fixture does not tell
	Kind    string   `json:"kind"`            // "embedding", "recurrent", "attention", "mlp", "final norm", "logits", "decoding"
	Site    string   `json:"site"`            // whose numbers lie outside
	Pass    string   `json:"pass,omitempty"`  // "", "packed" or "decode": the first in which they do
	Proved  bool     `json:"proved"`          // the fixture's own input was given, so that nothing before it is to blame
	First   Place    `json:"first"`           // the first token outside
	Worst   Place    `json:"worst"`           //
	Cause   string   `json:"cause,omitempty"` // what explains all of it, where something that was tried does
	Where   string   `json:"where,omitempty"` // what the tokens outside have in common
	Tensors []string `json:"tensors"`         // that the computation involves, by their full names; those of the cause, where there is one
	Detail  string   `json:"detail"`          // a sentence with all of it
}

func (c *comparison) localise() error { return nil }
