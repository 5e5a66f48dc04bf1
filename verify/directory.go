package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/internal/beside"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// checkDirectory finds what lies beside the weights of a Hugging Face directory and makes transformers load something else, and
// notes what changes how text is generated or read. The outcome is part of the section of the configuration.
//
// Sources: transformers 4.57.3 and 5.23.0, each statement measured.
func (r *run) checkDirectory(ctx context.Context) error {
	if r.plan.Layout != model.HuggingFace {
		return nil
	}
	files, err := filesBeside(ctx, r.converted)
	if err != nil {
		return err
	}
	s := r.verdict.Config
	var wrong []string
	add := func(field, got, effect string) {
		wrong = append(wrong, field)
		s.add(Finding{Kind: WrongField, Field: field, Want: noFile, Got: got, Detail: effect})
	}
	if files.Adapter {
		add(beside.Adapter, "an adapter", "transformers loads it along with the model, or in 4.57 the model that it names as its base")
	}
	for _, name := range files.Code {
		effect := "with trust_remote_code, transformers runs this code instead of its own"
		if name == beside.Generate {
			effect = "transformers 4.57 runs this code as generate()"
		}
		add(name, "code", effect)
	}
	if len(wrong) > 0 {
		summary := configSummary{section: s}
		summary.add("beside the weights: "+strings.Join(wrong, ", "), true)
		summary.finish()
	}
	var source *beside.Files
	if c := r.sourceModel.Checkpoint; r.sourceModel.Layout == model.HuggingFace {
		if source, err = filesBeside(ctx, c); err != nil {
			return err
		}
	}
	s.Notes = append(s.Notes, generationNotes(files, source)...)
	fields, err := hfconfig.Fields(r.converted.Source, r.converted.Beside(hfconfig.Name))
	if err == nil && r.convertedModel != nil {
		s.Notes = append(s.Notes, hfconfig.TokenizerNotes(r.converted.Source, path.Dir(r.converted.Beside(hfconfig.Name)), r.convertedModel.Config.VocabSize, fields)...)
	}
	if source != nil {
		s.Notes = append(s.Notes, tokenizerNotes(files, source)...)
	} else if remark := huggingface.TokenizerRemark(slices.Collect(maps.Keys(files.Tokenizer)), r.sourceModel.Checkpoint); remark != "" && !errors.Is(err, fs.ErrNotExist) {
		s.Notes = append(s.Notes, remark)
	}
	return nil
}

// checkWeightFiles finds whether transformers does not find the weights of a directory by the names of their files or, if it has those of an original,
// of the tensors. isHF says whether it has, or should have, the names of transformers; found is the model in it, or nil. The outcome is part of the
// section of the structure.
func checkWeightFiles(s *Section, c *tensor.Checkpoint, isHF bool, found *model.Model) error {
	if !isHF {
		return checkNames(s, found)
	}
	problem, err := runtime.WeightsNotFound(c)
	if err != nil || problem == "" && found == nil {
		return err
	}
	if problem == "" {
		return checkTensorNames(s, found)
	}
	s.putFirst(Finding{Kind: MissingFile, Field: "model.safetensors", Want: aFile, Got: "none",
		Detail: "transformers loads it, or the shards that model.safetensors.index.json lists: give the file this name, or copy the index too"})
	s.fail("transformers cannot load the directory: "+problem, s.Summary)
	return nil
}

// checkTensorNames is checkWeightFiles of a directory whose files transformers loads. Of a conversion, the comparison with the plan has found which names
// are wrong.
func checkTensorNames(s *Section, found *model.Model) error {
	misnamed, problem, err := runtime.MisnamedIn(found)
	if err != nil || problem == "" {
		return err
	}
	s.misnamed = true
	if !s.OK {
		s.Summary += "; transformers does not find these names, and would load random weights"
		return nil
	}
	for _, n := range misnamed {
		s.add(Finding{Kind: RenamedTensor, Tensor: n.Wanted, ConvertedName: n.Stored, Want: n.Wanted, Got: n.Stored})
	}
	s.fail(problem, "")
	return nil
}

// checkNames is checkWeightFiles of an original.
func checkNames(s *Section, found *model.Model) error {
	if found == nil {
		return nil
	}
	problem, err := runtime.NamesNotFound(found)
	if err != nil || problem == "" {
		return err
	}
	s.putFirst(Finding{Kind: MissingFile, Field: hfconfig.Name, Want: "names of transformers beside it", Got: "names of the original beside it",
		Detail: "griffin convert writes a directory that transformers loads; without config.json this is an original alone"})
	more := s.Summary
	if s.OK {
		more = ""
	}
	s.fail(problem, more)
	return nil
}

// checkAlone is checkWeightFiles of a checkpoint that is only compared with a fixture, and finds what keeps transformers from loading its config.json. There
// are sections only of what fails.
func checkAlone(r *run) error {
	s := &Section{OK: true}
	isHF := r.sourceModel.Layout == model.HuggingFace
	err := checkWeightFiles(s, r.source, isHF, r.sourceModel)
	if !s.OK {
		r.verdict.Structure = s
	}
	if err != nil || !isHF {
		return err
	}
	checkConfigAlone(r)
	return nil
}

// checkConfigAlone notes what is unusual in the config.json of a checkpoint alone, and fails what transformers refuses. One that is not there, or cannot
// be read, is no matter of this.
func checkConfigAlone(r *run) {
	stated, err := r.sourceModel.StatedConfig()
	if err != nil || stated == nil {
		return
	}
	c := r.sourceModel.Checkpoint
	fields, err := hfconfig.Fields(c.Source, c.Beside(hfconfig.Name))
	if err != nil {
		return
	}
	for _, note := range stated.VersionNotes() {
		r.verdict.Notes = append(r.verdict.Notes, hfconfig.Name+": "+note)
	}
	maps.DeleteFunc(fields, func(name string, _ any) bool {
		return name == "quantization_config" || strings.HasPrefix(name, "quantization_config.")
	})
	findings := judgeRefusals(fields, nil)
	findings = append(findings, judgeDepartures(fields, findings)...)
	if len(findings) == 0 {
		return
	}
	names := make([]string, len(findings))
	for i := range findings {
		names[i] = findings[i].Field
	}
	r.verdict.Config = &Section{Findings: strictjson.Items(findings...), Summary: fmt.Sprintf("config.json is wrong in %s: %s", text.Count(len(names), "field"), strings.Join(names, ", "))}
}

// fail makes a section one that fails for a reason, which comes before more of its summary.
func (s *Section) fail(reason, more string) {
	if more != "" {
		reason += "; " + more
	}
	s.OK, s.Summary = false, reason
}

// putFirst adds a finding before the others.
func (s *Section) putFirst(f Finding) {
	others := s.Findings
	s.Findings = strictjson.NewList(others.Len()+1, func(i int) Finding {
		if i == 0 {
			return f
		}
		return others.At(i - 1)
	})
}

func filesBeside(ctx context.Context, c *tensor.Checkpoint) (*beside.Files, error) {
	return beside.Read(ctx, c.Source, path.Dir(c.Beside(hfconfig.Name)))
}

// generationNotes says how generation_config.json differs from that of the source or, if the source has none, from the one that
// a conversion writes.
func generationNotes(files, source *beside.Files) []string {
	if files.Corrupt != "" {
		return []string{beside.Generation + " is corrupt, and transformers ignores it: " + files.Corrupt}
	}
	if files.Generation == nil {
		if files.HasConfig() && source != nil && source.Generation != nil {
			return []string{"there is no " + beside.Generation + ", as the source has: transformers takes what generate() does from config.json"}
		}
		return nil
	}
	want, than := map[string]any(nil), "by default"
	if source != nil && source.Generation != nil && source.Corrupt == "" {
		want, than = source.Generation, "with that of the source"
	} else {
		want = files.UsualGeneration(files.Generation)
	}
	var parts []string
	for _, name := range beside.GenerationDifferences(want, files.Generation) {
		parts = append(parts, fmt.Sprintf("%s %s, not %s", name, beside.Show(files.Generation[name]), beside.Show(want[name])))
	}
	if parts == nil {
		return nil
	}
	return []string{fmt.Sprintf("generate() does something else than %s, because of %s: %s", than, beside.Generation, strings.Join(parts, "; "))}
}

// tokenizerNotes names the files of the tokenizer that are not those of the source.
func tokenizerNotes(files, source *beside.Files) []string {
	names := beside.Differences(files.Tokenizer, source.Tokenizer)
	var changed, missing, added []string
	for _, name := range names {
		switch {
		case files.Tokenizer[name] == "":
			missing = append(missing, name)
		case source.Tokenizer[name] == "":
			added = append(added, name)
		default:
			changed = append(changed, name)
		}
	}
	var notes []string
	for _, kind := range []struct {
		names []string
		what  string
	}{{changed, "not as in the source"}, {missing, "only in the source"}, {added, "not in the source"}} {
		if len(kind.names) > 0 {
			verb := "is"
			if len(kind.names) > 1 {
				verb = "are"
			}
			slices.Sort(kind.names)
			notes = append(notes, fmt.Sprintf("%s %s %s: text may become other tokens, and a chat another text", strings.Join(kind.names, ", "), verb, kind.what))
		}
	}
	return notes
}
