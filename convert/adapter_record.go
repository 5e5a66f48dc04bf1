package convert

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// recordAdapter reads an adapter's files for their digests.
func recordAdapter(ctx context.Context, a *peft.Adapter) (*manifest.Adapter, error) {
	c := a.Config
	m := &manifest.Adapter{Name: lastElement(a.Path), Type: "LoRA", Rank: c.Rank, Alpha: manifest.Float(c.Alpha), RSLoRA: c.RSLoRA, Base: c.Base, Changes: len(a.Changes)}
	if c.DoRA {
		m.Type = "DoRA"
	}
	for _, name := range a.Files {
		sum, err := digestFile(ctx, a.Source, name)
		if err != nil {
			return nil, err
		}
		m.Files = append(m.Files, manifest.File{Name: path.Base(name), SHA256: hex.EncodeToString(sum)})
	}
	return m, nil
}

func digestFile(ctx context.Context, source fs.FS, name string) ([]byte, error) {
	f, _, err := storage.Open(source, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	hash := sha256.New()
	buffer := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := f.Read(buffer)
		hash.Write(buffer[:n])
		if err == io.EOF {
			return hash.Sum(nil), nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// noteAdapter says of each tensor that an adapter changed that it did, and of the model which.
func (p *Plan) noteAdapter() {
	m := p.Source
	if m.Adapter == nil {
		return
	}
	for i := range p.Moves {
		if d := &p.Dests[p.Moves[i].Dest]; p.Source.adapted[p.Moves[i].Source] && !strings.HasSuffix(d.Rule, ", adapted") {
			d.Rule += ", adapted"
		}
	}
	note := fmt.Sprintf("merged the adapter %s, which changes %d parameters", tensor.QuoteName(m.Adapter.Path), len(m.Adapter.Changes))
	if m.headChanged && p.Config.SeparateHead {
		note += "; embedding and output head are no longer one, as PEFT runs the adapter, though not as it merges it"
	}
	p.Notes = append(p.Notes, note)
}
