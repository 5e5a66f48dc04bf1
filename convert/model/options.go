package model

import "github.com/griffin-ckpt/griffin/formats/tensor"

// OptionError reports options that are missing or invalid, or that contradict the checkpoint or each
// other: something that the caller has to decide. The checkpoint is not at fault.
type OptionError struct {
	Problem  string   // what is wrong: lower case, no full stop
	Option   string   // name of the field that is wrong, "" if it is none or several
	Accepted []string // values that Option accepts, if they can be listed
	Missing  []string // names of the fields of Settings that have to be set
	Hint     string   // what else to do, "" for nothing
}

func (e *OptionError) Error() string { return e.Problem }

// Reasons of a *tensor.FormatError.
const (
	ReasonAdapter       tensor.Reason = "adapter"        // the checkpoint is an adapter, which has to be merged into its base
	ReasonSeveralModels tensor.Reason = "several models" // Options.Name has to select one
	ReasonNotOfFamily   tensor.Reason = "not of family"  // no tensor has the name of a parameter
	ReasonExtraTensors  tensor.Reason = "extra tensors"  // Options.KeepExtra would accept them
)
