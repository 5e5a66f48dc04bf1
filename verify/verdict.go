package verify

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/internal/float"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/runtime"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

// Verdict is the answer to "is this the same model?", and what it is based on. A check that was not made is nil.
type Verdict struct {
	Same      bool     `json:"same"`                // no check found anything wrong
	Verdict   string   `json:"verdict"`             // as it is printed, with what it allows
	Unproven  string   `json:"unproven,omitempty"`  // why nothing is proven, if all that is wrong is settings that were given, or the recording; then Same is false
	Griffin   string   `json:"griffin"`             // version of the tool
	Source    *Subject `json:"source,omitempty"`    // the original, or the only checkpoint
	Converted *Subject `json:"converted,omitempty"` // what was converted from it
	Adapter   string   `json:"adapter,omitempty"`   // path of the adapter that was merged into the source
	Model     string   `json:"model,omitempty"`     // which of several models in the source, as model.Options.Name; "" for the only one
	LeftOut   []string `json:"left_out,omitempty"`  // tensors among the source's parameters or beside them that are not the family's, and not in the conversion
	Unread    []string `json:"unread,omitempty"`    // tensors of either checkpoint that were not read, such as sparse ones
	Golden    string   `json:"golden,omitempty"`    // path of the fixture

	WeightsOnly bool `json:"weights_only,omitempty"` // only structure and weights were compared

	Settings *Settings `json:"settings,omitempty"` // of the source
	Given    []string  `json:"given,omitempty"`    // settings that only the caller states, and no file of a checkpoint: "attention window 8"

	Structure *Section        `json:"structure,omitempty"`
	Config    *Section        `json:"config,omitempty"`
	Weights   *WeightsSection `json:"weights,omitempty"`

	Quantized *QuantizedSection `json:"quantized,omitempty"` // of a quantised copy, which is never the same model

	Logits []*logits.Result `json:"logits,omitempty"`

	Window  *runtime.Window `json:"window,omitempty"`  // how the Hugging Face side writes the attention window
	Runtime *RuntimeResult  `json:"runtime,omitempty"` // where source and converted diverge when each is run by a runtime of its layout

	Notes []string `json:"notes,omitempty"` // what the reader should know, one sentence each; no failures

	// MissingAdapter is the name of the adapter that was merged into the source, according to the
	// conversion.json of the converted checkpoint; "" if there is none or Options has it.
	MissingAdapter string `json:"-"`

	// Part says that Converted is a part of the source, and why it lacks the rest, which is all that is wrong with its tensors; "" if it is not so.
	// It is among Notes.
	Part string `json:"-"`

	// Made is the checkpoint that was converted, according to the conversion.json of the converted checkpoint; nil if there is none.
	Made *manifest.Source `json:"-"`

	Facts *Facts `json:"-"` // about the checkpoints and the fixture; nil without Options.Facts

	partly      bool     // Adapter lacks tensors of some of its target modules, which stay as in the base
	lost        []string // what the directory does not express exactly, apart from elements of the embedding that Weights counts
	ignoredHead string   // an output head of both, with which the original implementation does not compute; "" for none

	dequantized bool // Source is a quantised copy, run dequantised

	renaming *renaming        // of the tensors of Converted
	another  bool             // Converted is wholly another model, as the summary of Structure says
	expected *expectedTensors // of Converted; nil without a plan

	excuses map[*logits.Fault]string // why faults of Logits prove nothing
	layers  map[*logits.Result]layerNames
}

// Another reports whether the converted checkpoint is wholly another model, so that single findings of the structure and the configuration
// only repeat what the summary of the structure says.
func (v *Verdict) Another() bool { return v.another }

// WindowNote returns the Window of a verdict, or nil if a failure says what is wrong with the window.
func WindowNote(v *Verdict) *runtime.Window {
	isWindow := func(f Finding) bool {
		isField := f.Kind == WrongField && slices.ContainsFunc(strings.Split(f.Field, ", "), func(name string) bool { return slices.Contains(hfconfig.WindowNames, name) })
		return isField || f.Kind == OpenSetting && f.Field == string(logits.WindowSetting) || f.Kind == GivenSetting && f.Field == string(logits.WindowSetting) && f.Of == "conversion"
	}
	if v.Config != nil && slices.ContainsFunc(v.Config.Findings.All(), isWindow) {
		return nil
	}
	for _, l := range v.Logits {
		for _, f := range l.Faults {
			if f.Setting != nil && f.Setting.Name == logits.WindowSetting && v.excuses[f] == "" {
				return nil
			}
		}
	}
	return v.Window
}

// OnlyMisnamed reports whether all that is wrong with the tensors of the checkpoint that was verified is names that transformers does not find. A conversion
// of it has the right ones.
func OnlyMisnamed(v *Verdict) bool {
	isOther := func(f Finding) bool { return f.Kind != RenamedTensor }
	return v.Structure != nil && v.Structure.misnamed && !slices.ContainsFunc(v.Structure.Findings.All(), isOther) && (v.Weights == nil || v.Weights.OK)
}

// StaleRecord is a conversion.json that does not describe the checkpoint that it is beside.
type StaleRecord struct {
	Problem  string // "conversion.json is corrupt"
	OfSource bool   // it is beside the source, not beside the conversion
}

// StaleRecords returns the stale records if they are all that is wrong: then the models are the same. It is empty otherwise.
func StaleRecords(v *Verdict) []StaleRecord {
	if v.Config == nil || v.Quantized != nil || !v.Config.onlyRecords() {
		return nil
	}
	for _, s := range v.Sections() {
		if s.Section != v.Config && !s.OK && !s.Skipped {
			return nil
		}
	}
	if isRefuted(v.Logits) {
		return nil
	}
	return v.Config.stale
}

// sayStale names what is wrong with stale records.
func sayStale(all []StaleRecord) string {
	var problems []string
	for _, s := range all {
		problems = append(problems, s.Problem)
	}
	return inWords(problems)
}

// Subject is a checkpoint that was verified.
type Subject struct {
	Path   string `json:"path"`
	Step   string `json:"step,omitempty"` // of a training run, if one was selected or found in the directory Path
	Format string `json:"format"`         // of the container: "torch-zip", "safetensors", …
	Layout string `json:"layout"`         // "flax", "torch" or "huggingface"
	Prefix string `json:"prefix,omitempty"`
}

// Settings are the settings of a model that its shapes do not show.
type Settings struct {
	Preset          string `json:"preset,omitempty"`
	AttentionWindow int64  `json:"attention_window,omitempty"` // 0, and left out, without attention blocks
	LogitsSoftCap   Number `json:"logits_soft_cap"`
	EmbeddingScale  bool   `json:"embedding_scale"`

	// Recorded are the names of those that are taken from the conversion.json of a checkpoint. Nothing proves them.
	Recorded []string `json:"recorded,omitempty"`

	// Contradicted are those that were given, "attention window 9", and that are another one in the conversion, with which the source was run.
	Contradicted []string `json:"contradicted,omitempty"`
}

// Section is the outcome of one check.
type Section struct {
	OK       bool                     `json:"ok"`
	Skipped  bool                     `json:"skipped,omitempty"` // the check could not be made; Summary says why
	Summary  string                   `json:"summary"`           // one line
	Findings strictjson.List[Finding] `json:"findings"`          // everything that is wrong, in the order of the destination
	Notes    []string                 `json:"notes,omitempty"`   // what is not wrong

	noConfig bool          // there is no config.json beside the single file of weights that was to be checked with it
	stale    []StaleRecord // of the configuration
	misnamed bool          // of the structure: a model was found in a Hugging Face directory under names that transformers does not find
	loaded   string        // of the configuration: "loaded in bfloat16, not in float32", if that is all that differs
}

// onlyRecords reports whether all that is wrong is records of conversions.
func (s *Section) onlyRecords() bool {
	return s.Findings.Len() > 0 && !slices.ContainsFunc(s.Findings.All(), func(f Finding) bool { return f.Kind != WrongRecord })
}

// add adds findings, of which a section with few is made.
func (s *Section) add(f ...Finding) { s.Findings = s.Findings.Append(f...) }

// Finding is one thing that is wrong. Fields that do not apply are empty.
type Finding struct {
	Kind          FindingKind `json:"kind"`
	Tensor        string      `json:"tensor,omitempty"`         // full name in the checkpoint that is verified
	SourceName    string      `json:"source_name,omitempty"`    // full name of its counterpart in the source; several are joined with " + "
	ConvertedName string      `json:"converted_name,omitempty"` // full name that it has or should have in the converted checkpoint, "" if another has that name
	Field         string      `json:"field,omitempty"`          // of config.json: "rope_parameters.rope_theta"
	Index         []int64     `json:"index,omitempty"`          // of the first wrong element of the converted tensor
	Want          string      `json:"want,omitempty"`
	Got           string      `json:"got,omitempty"`
	Differing     int64       `json:"differing,omitempty"` // elements that are wrong
	Elements      int64       `json:"elements,omitempty"`  // of the tensor
	Detail        string      `json:"detail,omitempty"`    // what the difference means, or what the tensor holds
	Of            string      `json:"of,omitempty"`        // what has Want and not a setting that was given: "conversion", or "source" or "checkpoint" by its config.json, or "recording"

	notFinite stats.NotFinite // elements that Detail ends with
	cause     string          // why nothing is proven, of an OpenSetting
}

// String describes the finding in one line, for people.
func (f *Finding) String() string {
	var b strings.Builder
	b.WriteString(cmp.Or(f.Field, f.Tensor))
	if f.Field == "" && f.SourceName != "" && f.SourceName != f.Tensor {
		fmt.Fprintf(&b, " (%s)", f.SourceName)
	}
	switch f.Kind {
	case MissingTensor:
		fmt.Fprintf(&b, ": missing, %s", f.Want)
	case ExtraTensor:
		fmt.Fprintf(&b, ": not a tensor of the model, %s", f.Got)
	case RenamedTensor:
		fmt.Fprintf(&b, ": renamed to %s", f.Got)
	case GivenSetting:
		return fmt.Sprintf("%s: %s was given, but %s", strings.ReplaceAll(f.Field, "_", " "), f.Got, f.Detail)
	case OpenSetting:
		return strings.ReplaceAll(f.Field, "_", " ") + ": " + f.Detail
	case WrongField, WrongRecord, MissingFile:
		if f.Want == aFile {
			b.WriteString(": there is none")
			break
		}
		if f.Want == noField || f.Want == noFile {
			fmt.Fprintf(&b, ": %s, which should not be there", f.Got)
			break
		}
		fmt.Fprintf(&b, ": %s, not %s", f.Got, f.Want)
	case MisshapenTensor, MistypedTensor:
		fmt.Fprintf(&b, ": %s instead of %s", f.Got, f.Want)
	default:
		if f.Differing > 0 {
			fmt.Fprintf(&b, ": %s; %s is %s, not %s", elementsDiffer(f.Differing, f.Elements), tensor.ShapeString(f.Index), f.Got, f.Want)
		} else {
			fmt.Fprintf(&b, ": %s, not %s", f.Got, f.Want)
		}
	}
	if f.Detail != "" {
		b.WriteString("; " + f.Detail)
	}
	return b.String()
}

// elementsDiffer says how many of the elements differ.
func elementsDiffer(n, of int64) string {
	switch {
	case of == 1:
		return "its only element differs"
	case n == of:
		return "all " + text.Grouped(of) + " elements differ"
	}
	return fmt.Sprintf("%s of %s elements %s", text.Grouped(n), text.Grouped(of), map[bool]string{true: "differs", false: "differ"}[n == 1])
}

// aFile is what a finding wants where there is no file.
const aFile = "a file"

// uncountedNaN is the number of NaN that were not counted.
const uncountedNaN = -1

// sayNotFinite says how many elements are not finite; "" for none.
func sayNotFinite(n stats.NotFinite) string {
	switch {
	case n == (stats.NotFinite{}):
		return ""
	case n.NaN == uncountedNaN:
		return "NaN in the conversion"
	}
	return n.String() + " in the conversion"
}

// uncounted is Detail without what is not finite.
func (f *Finding) uncounted() string {
	return strings.TrimSuffix(strings.TrimSuffix(f.Detail, sayNotFinite(f.notFinite)), "; ")
}

// FindingKind is a kind of Finding.
type FindingKind string

// The kinds of findings.
const (
	MissingTensor   FindingKind = "missing"   // the conversion lacks a tensor
	ExtraTensor     FindingKind = "extra"     // the conversion has a tensor that is not part of the model
	RenamedTensor   FindingKind = "renamed"   // it has another name, Finding.Got; what it holds is right, or its layer was found by what most of it holds or looks like
	MisshapenTensor FindingKind = "misshapen" // it has another shape
	MistypedTensor  FindingKind = "mistyped"  // it has another dtype
	UntiedHead      FindingKind = "head"      // the output head is not a copy of the embedding
	MissingFile     FindingKind = "file"      // transformers finds no weights by the names of their files, and Finding.Field is the first that it looks for; or by those of the tensors, and it is config.json
	WrongField      FindingKind = "field"     // config.json contradicts the source
	WrongRecord     FindingKind = "record"    // a conversion.json is corrupt, or records something else than was found
	OpenSetting     FindingKind = "open"      // files disagree on a setting, and nothing says which is right: Got is in a config.json, of the conversion if both have it otherwise than Want; Finding.Field is its name
	GivenSetting    FindingKind = "given"     // a setting that was given is not that of Finding.Of; Finding.Field is its name
	WrongWeights    FindingKind = "weights"   // elements differ
	BadlyQuantized  FindingKind = "quantized" // a quantised matrix is farther from the source than its scheme explains
)

// WeightsSection is the outcome of the proof of the weights.
type WeightsSection struct {
	Section
	Tensors  int   `json:"tensors"`  // of the converted checkpoint, that were compared
	Elements int64 `json:"elements"` // of them; every one was compared
	Bytes    int64 `json:"bytes"`    // of them

	Converted strictjson.List[TensorDigest] `json:"converted"` // the tensors that were compared, in the converted checkpoint's order
	Source    strictjson.List[TensorDigest] `json:"source"`    // the tensors that they were made of

	// The effect of a change of dtype, which is not an error.
	Rounded    int64  `json:"rounded"`              // elements that were compared with the source rounded to nearest, not bit for bit
	Overflowed int64  `json:"overflowed"`           // finite ones of them that became infinite
	RoundedTo  string `json:"rounded_to,omitempty"` // the dtype that most elements have, if Rounded is not 0
	Widened    int64  `json:"widened,omitempty"`    // those of Rounded whose new dtype has every value of the old one, so that none changed
	Kept       bool   `json:"kept,omitempty"`       // none of Rounded changed its value, whatever dtype it has

	// What was done to tensors, if single ones have another dtype than the others, or than those of the source: "53 tensors as float32".
	DTypes string `json:"dtypes,omitempty"`

	// The embedding of a model that does not scale it is divided by the factor that transformers scales it by.
	Divided int64 `json:"divided,omitempty"` // elements that were compared with the quotient, rounded once
	Inexact int64 `json:"inexact,omitempty"` // those of them that multiplying and rounding again does not restore

	details map[int]string // what is said of Findings
}

// TensorDigest has digests of a tensor's elements, row-major and little-endian: the same whatever format they are read
// from. It has those that Options.Digest chooses, and those that conversion.json has of the tensor.
type TensorDigest struct {
	Name  string  `json:"name"`
	DType string  `json:"dtype"`
	Shape []int64 `json:"shape"`
	digest.Sum
	Rule string   `json:"rule,omitempty"` // how a converted tensor is made: "copy", "part 0, transpose", …
	From []string `json:"from,omitempty"` // tensors of the source that it is made of
	OK   bool     `json:"ok"`             // all elements are right; for a source tensor: in the converted tensors
}

// Number is a float64 whose JSON is a string if it is not finite: NaN, Infinity, -Infinity.
type Number = float.Number

// conclude sets Same, Unproven and Verdict. isStated reports whether files of the conversion state a setting.
func (v *Verdict) conclude(isStated func(*logits.Setting) bool) {
	v.Same = true
	for _, s := range []*Section{v.Structure, v.Config} {
		v.Same = v.Same && (s == nil || s.OK || s.Skipped)
	}
	v.Same = v.Same && (v.Weights == nil || v.Weights.OK) && v.Quantized == nil
	for _, l := range v.Logits {
		v.Same = v.Same && l.OK
	}
	if !v.Same {
		v.Unproven = unproven(v, isStated)
	}
	v.Verdict = v.Answer()
}

// unproven says why a verdict proves nothing, although no check found the models to differ: all that fails is settings that were given or on which files
// disagree, records of conversions beside these, or a recording that is not finite or of other weights. It is "" if anything else fails. isStated reports
// whether files of the conversion state a setting.
func unproven(v *Verdict, isStated func(*logits.Setting) bool) string {
	if v.Quantized != nil {
		return ""
	}
	for _, s := range v.Sections() {
		if !s.OK && !s.Skipped && s.Section != v.Config {
			return ""
		}
	}
	var causes []string
	if c := v.Config; c != nil && !c.OK && !c.Skipped {
		var given []string
		of := ""
		for _, f := range c.Findings.All() {
			switch f.Kind {
			case WrongRecord:
			case OpenSetting:
				if !slices.Contains(causes, f.cause) {
					causes = append(causes, f.cause)
				}
			case GivenSetting:
				given, of = append(given, f.Field), f.Of
			default:
				return ""
			}
		}
		if given != nil {
			causes = append(causes, notThose(given, of))
		}
	}
	for _, l := range v.Logits {
		found, ok := excused(v, l, isStated)
		if !ok {
			return ""
		}
		for _, cause := range found {
			if !slices.Contains(causes, cause) {
				causes = append(causes, cause)
			}
		}
	}
	return strings.Join(causes, "; ")
}

// excused says why a result proves nothing, and whether that is all that is wrong with it.
func excused(v *Verdict, l *logits.Result, isStated func(*logits.Setting) bool) (causes []string, ok bool) {
	if l.OK {
		return nil, true
	}
	const otherWeights = "the recording is of other weights"
	if v.Converted != nil && l.Weights == logits.OtherWeights { // the conversion has the weights of the source
		return []string{otherWeights}, true
	}
	var given []string
	for _, f := range l.Faults {
		switch {
		case v.excuses[f] != "":
			causes = append(causes, v.excuses[f])
		case f.Kind == logits.RecordingFault:
			causes = append(causes, "the recording is not finite")
		case f.Kind == logits.WeightsFault && l.Weights == logits.UnlikeWeights:
			causes = append(causes, "the recording is likely of other weights or of another model")
		case f.Kind == logits.WeightsFault:
			causes = append(causes, otherWeights)
		case f.Setting != nil && f.Setting.Given && !isStated(f.Setting):
			if name := string(f.Setting.Name); !slices.Contains(given, name) {
				given = append(given, name)
			}
		default:
			return nil, false
		}
	}
	if given != nil {
		causes = append(causes, notThose(given, "recording"))
	}
	return causes, causes != nil
}

// notThose says that settings that were given are not those of something.
func notThose(names []string, of string) string {
	the := make([]string, len(names))
	for i, name := range names {
		the[i] = "the " + words(logits.SettingName(name))
	}
	verbs := "was given is"
	if len(names) > 1 || names[0] == string(logits.SemanticsSetting) {
		verbs = "were given are"
	}
	return fmt.Sprintf("%s that %s not the %s's", inWords(the), verbs, of)
}

// inWords joins parts of a sentence: "a, b and c".
func inWords(parts []string) string {
	last := len(parts) - 1
	if last == 0 {
		return parts[0]
	}
	return strings.Join(parts[:last], ", ") + " and " + parts[last]
}
