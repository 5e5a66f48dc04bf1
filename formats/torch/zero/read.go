package zero

import (
	"fmt"
	"io/fs"
	"path"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/savefile"
)

const (
	maxOpen  = 64      // files that are open at once
	maxWorld = 1 << 20 // ranks
)

// reader puts the tensors of a step together.
type reader struct {
	source  fs.FS
	files   *files
	pool    *storage.Pool
	options Options
	state   *state                    // of the model, as rank 0 has it
	tensors []*tensor.Tensor          // by the index in the module, nil for what is none
	others  []*tensor.Tensor          // that are not in the module
	byName  map[string]*tensor.Tensor // others

	checksums string // of the files: "none" if one has none
}

// state is a file with the states of the model.
type state struct {
	file   *savefile.File
	root   *pickle.Dict
	module *table
}

func open(source fs.FS, f *files, options Options) (*tensor.Checkpoint, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	r := &reader{source: source, files: f, options: options, pool: storage.NewPool(source, maxOpen), byName: map[string]*tensor.Tensor{}}
	var err error
	if r.state, err = r.readState(f.model[0]); err != nil {
		return nil, err
	}
	r.tensors = make([]*tensor.Tensor, len(r.state.module.entries))
	var facts []tensor.Detail
	if options.Weights == Compute || len(f.optim) == 0 {
		facts, err = r.addModule()
	} else {
		facts, err = r.addMaster()
	}
	if err != nil {
		return nil, err
	}
	return r.checkpoint(facts)
}

// read reads a file of torch.save, whose tensors are read through the pool.
func (r *reader) read(name string) (*savefile.File, error) {
	full := path.Join(r.files.dir, name)
	info, err := fs.Stat(r.source, full)
	if err != nil {
		return nil, err
	}
	f, err := savefile.Read(storage.Path(r.source, full), r.pool.File(full), info.Size())
	if err == nil && (r.checksums == "" || f.Checksums() == tensor.NoChecksums) {
		r.checksums = f.Checksums()
	}
	return f, tensor.Annotate(err, tensor.Location{File: storage.Path(r.source, full)})
}

func (r *reader) readState(name string) (*state, error) {
	f, err := r.read(name)
	if err != nil {
		return nil, err
	}
	root, ok := f.Root.(*pickle.Dict)
	if !ok {
		return nil, notState(name)
	}
	if _, ok := root.Get("module").(*pickle.Dict); !ok {
		return nil, notState(name)
	}
	module, err := newTable(root.Get("module"))
	return &state{f, root, module}, tensor.Annotate(err, tensor.Location{Record: name})
}

func notState(name string) error {
	return tensor.Bad("is not a file with the states of a model, as DeepSpeed writes it").Within(name)
}

// add adds a tensor.
func (r *reader) add(name string, shape []int64, dtype tensor.DType, data tensor.Data) error {
	if r.tensor(name) != nil {
		return tensor.Bad("two tensors of one name").Of(tensor.Clip(name))
	}
	t := &tensor.Tensor{Name: name, DType: dtype, Shape: shape, Data: data}
	if i := r.state.module.find(name); i >= 0 {
		t.Name = r.state.module.name(int32(i)) // so that there is one copy of it
		r.tensors[i] = t
	} else {
		r.others, r.byName[name] = append(r.others, t), t
	}
	return nil
}

// tensor returns the tensor of a name that was added, or nil.
func (r *reader) tensor(name string) *tensor.Tensor {
	if i := r.state.module.find(name); i >= 0 {
		return r.tensors[i]
	}
	return r.byName[name]
}

// addRef adds a tensor that lies in a file as it is.
func (r *reader) addRef(f *savefile.File, name string, ref *savefile.Ref) error {
	t, err := f.Tensor(ref)
	if err != nil {
		return tensor.Annotate(err, tensor.Location{Tensor: tensor.Clip(name)})
	}
	return r.add(name, t.Shape, t.DType, t.Data)
}

// addModule adds the weights that the model computes with.
func (r *reader) addModule() ([]tensor.Detail, error) {
	for _, e := range r.state.module.entries {
		name, ok := e.Key.(string)
		ref, isRef := e.Value.(*savefile.Ref)
		if !ok || !isRef {
			continue
		}
		if err := r.addRef(r.state.file, name, ref); err != nil {
			return nil, err
		}
	}
	groups, err := r.groups()
	if err != nil {
		return nil, err
	}
	for _, group := range groups {
		for _, e := range group {
			p, err := parameterOf(e)
			if err != nil {
				return nil, err
			}
			if t := r.tensor(p.name); t != nil && t.Elements() == 0 && p.elements > 0 {
				return nil, tensor.Bad("ZeRO of stage 3 keeps no whole weights in the type that the model computes with").
					Of(tensor.Clip(p.name)).Because(ReasonNoComputeWeights)
			}
		}
	}
	return []tensor.Detail{{Key: "weights", Value: "of the model"}}, nil
}

// parameter is a parameter in the order of the optimizer's flat tensors.
type parameter struct {
	name     string
	shape    []int64
	elements int64
}

// groups returns the names and shapes of the parameters of each group of the optimizer.
func (r *reader) groups() (groups [][]pickle.Entry, err error) {
	list, ok := r.state.root.Get("param_shapes").(*pickle.List)
	if !ok {
		return nil, nil
	}
	for _, item := range list.Items {
		group, err := parameters(item)
		if err != nil {
			return nil, err
		}
		groups = append(groups, group)
	}
	return groups, nil
}

// parameters returns the entries of a dict of names and shapes, none of None.
func parameters(v any) ([]pickle.Entry, error) {
	if v == nil {
		return nil, nil
	}
	d, ok := v.(*pickle.Dict)
	if !ok {
		return nil, tensor.Bad("shapes of the parameters are not a dict")
	}
	return d.Entries, nil
}

// parameterOf returns the parameter of a name and a shape.
func parameterOf(e pickle.Entry) (parameter, error) {
	name, ok := e.Key.(string)
	shape, shapeOK := savefile.Integers(e.Value)
	if !ok || !shapeOK {
		return parameter{}, tensor.Bad("shape of a parameter is not one")
	}
	n, _, err := tensor.SizeOf(tensor.F32, shape)
	return parameter{name, shape, n}, tensor.Annotate(err, tensor.Location{Tensor: tensor.Clip(name)})
}

// addMaster adds the master weights, and what of the model has none: buffers and frozen parameters.
func (r *reader) addMaster() ([]tensor.Detail, error) {
	m, err := r.readMaster()
	if err != nil {
		return nil, err
	}
	groups, err := r.groups()
	if err != nil {
		return nil, err
	}
	if err := r.addBuffers(); err != nil {
		return nil, err
	}
	if err := r.addFrozen(m); err != nil {
		return nil, err
	}
	if m.stage <= 2 {
		err = r.addConcatenated(m, groups)
	} else {
		err = r.addPartitioned(m, groups)
	}
	if err != nil {
		return nil, err
	}
	if shared, ok := r.state.root.Get("shared_params").(*pickle.Dict); ok {
		for _, e := range shared.Entries {
			name, ok := e.Key.(string)
			of, ofOK := e.Value.(string)
			if t := r.tensor(of); ok && ofOK && t != nil && r.tensor(name) == nil {
				if err := r.add(name, t.Shape, t.DType, t.Data); err != nil {
					return nil, err
				}
			}
		}
	}
	return []tensor.Detail{
		{Key: "weights", Value: "of the optimizer, float32"},
		{Key: "stage", Value: fmt.Sprint(m.stage)},
		{Key: "ranks", Value: fmt.Sprint(m.world)},
	}, nil
}

// addBuffers adds the buffers of the model, which have no master weights.
func (r *reader) addBuffers() error {
	names, _ := r.state.root.Get("buffer_names").(*pickle.List)
	if names == nil {
		return nil
	}
	for _, item := range names.Items {
		name, _ := item.(string)
		if ref, ok := r.state.module.get(name).(*savefile.Ref); ok {
			if err := r.addRef(r.state.file, name, ref); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkpoint lists the tensors in the order of the module.
func (r *reader) checkpoint(facts []tensor.Detail) (*tensor.Checkpoint, error) {
	var without []string
	tensors := r.tensors[:0]
	for i, t := range r.tensors {
		e := r.state.module.entries[i]
		name, named := e.Key.(string)
		_, isRef := e.Value.(*savefile.Ref)
		switch {
		case t != nil:
			tensors = append(tensors, t)
		case named && isRef:
			without = append(without, tensor.QuoteName(name))
		}
	}
	tensors = append(tensors, r.others...)
	if len(tensors) == 0 {
		return nil, tensor.Bad("holds no tensor")
	}
	c, err := tensor.NewCheckpoint("", Format, tensors, r.pool)
	if err != nil {
		return nil, err
	}
	c.Details = append(facts, tensor.Detail{Key: tensor.Checksums, Value: r.checksums})
	if version, ok := r.state.root.Get("ds_version").(string); ok {
		c.Describe("DeepSpeed", tensor.QuoteName(version))
	}
	if len(r.files.optim) > 0 {
		c.Describe("left out", "optimizer")
	} else {
		c.Notes = append(c.Notes, "there are no optimizer states with master weights: the weights are those that the model computes with")
	}
	if len(without) > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("the checkpoint keeps no weights of these, which may be tied to others (%d): %s", len(without), tensor.JoinNames(without)))
	}
	return c, nil
}
