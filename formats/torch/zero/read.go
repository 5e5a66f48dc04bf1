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
	state   *state // of the model, as rank 0 has it
	tensors map[string]*tensor.Tensor
	order   []string // of the tensors that are not in the module

	checksums string // of the files: "none" if one has none
}

// state is a file with the states of the model.
type state struct {
	file   *savefile.File
	root   *pickle.Dict
	names  []string // of the module
	module map[string]any
}

func open(source fs.FS, f *files, options Options) (*tensor.Checkpoint, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	r := &reader{source: source, files: f, options: options, pool: storage.NewPool(source, maxOpen), tensors: map[string]*tensor.Tensor{}}
	var err error
	if r.state, err = r.readState(f.model[0]); err != nil {
		return nil, err
	}
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
	module, ok := root.Get("module").(*pickle.Dict)
	if !ok {
		return nil, notState(name)
	}
	s := &state{file: f, root: root, module: index(module)}
	for _, e := range module.Entries {
		if name, ok := e.Key.(string); ok {
			s.names = append(s.names, name)
		}
	}
	return s, nil
}

// index returns the values of a dict that have text keys.
func index(d *pickle.Dict) map[string]any {
	values := make(map[string]any, len(d.Entries))
	for _, e := range d.Entries {
		if name, ok := e.Key.(string); ok {
			values[name] = e.Value
		}
	}
	return values
}

func notState(name string) error {
	return tensor.Bad("is not a file with the states of a model, as DeepSpeed writes it").Within(name)
}

// add adds a tensor.
func (r *reader) add(name string, shape []int64, dtype tensor.DType, data tensor.Data) error {
	if r.tensors[name] != nil {
		return tensor.Bad("two tensors of one name").Of(tensor.Clip(name))
	}
	r.tensors[name] = &tensor.Tensor{Name: name, DType: dtype, Shape: shape, Data: data}
	if r.state.module[name] == nil {
		r.order = append(r.order, name)
	}
	return nil
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
	for _, name := range r.state.names {
		ref, ok := r.state.module[name].(*savefile.Ref)
		if !ok {
			continue
		}
		if err := r.addRef(r.state.file, name, ref); err != nil {
			return nil, err
		}
	}
	shapes, err := r.shapes()
	if err != nil {
		return nil, err
	}
	for _, group := range shapes {
		for _, p := range group {
			if t := r.tensors[p.name]; t != nil && t.Elements() == 0 && p.elements > 0 {
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

// shapes returns the parameters of each group of the optimizer.
func (r *reader) shapes() (groups [][]parameter, err error) {
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

// parameters reads a dict of names and sizes, or None.
func parameters(v any) (list []parameter, err error) {
	d, ok := v.(*pickle.Dict)
	if !ok {
		if v == nil {
			return nil, nil
		}
		return nil, tensor.Bad("shapes of the parameters are not a dict")
	}
	for _, e := range d.Entries {
		name, ok := e.Key.(string)
		shape, shapeOK := savefile.Integers(e.Value)
		if !ok || !shapeOK {
			return nil, tensor.Bad("shape of a parameter is not one")
		}
		n, _, err := tensor.SizeOf(tensor.F32, shape)
		if err != nil {
			return nil, tensor.Annotate(err, tensor.Location{Tensor: tensor.Clip(name)})
		}
		list = append(list, parameter{name, shape, n})
	}
	return list, nil
}

// addMaster adds the master weights, and what of the model has none: buffers and frozen parameters.
func (r *reader) addMaster() ([]tensor.Detail, error) {
	m, err := r.readMaster()
	if err != nil {
		return nil, err
	}
	groups, err := r.shapes()
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
			if t := r.tensors[of]; ok && ofOK && t != nil && r.tensors[name] == nil {
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
		if ref, ok := r.state.module[name].(*savefile.Ref); ok {
			if err := r.addRef(r.state.file, name, ref); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkpoint lists the tensors in the order of the module.
func (r *reader) checkpoint(facts []tensor.Detail) (*tensor.Checkpoint, error) {
	var tensors []*tensor.Tensor
	var without []string
	for _, name := range r.state.names {
		if t := r.tensors[name]; t != nil {
			tensors = append(tensors, t)
		} else if _, ok := r.state.module[name].(*savefile.Ref); ok {
			without = append(without, tensor.QuoteName(name))
		}
	}
	for _, name := range r.order {
		tensors = append(tensors, r.tensors[name])
	}
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
