package orbax

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/flax"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// leafAt makes a leaf of a path such as "a/0i/b", in which i marks an index.
func leafAt(path string) *leaf {
	l := &leaf{}
	for _, text := range strings.Split(path, "/") {
		number, index := strings.CutSuffix(text, "i")
		l.path = append(l.path, &key{number, index})
	}
	l.setName()
	return l
}

func TestCheckTree(t *testing.T) {
	for _, test := range []struct{ leaves, want string }{
		{"a", ""},
		{"a/b a/c b", ""},
		{"a/1i a/0i/x", ""},
		{"0i 1i", ""},
		{"a/0 a/7", ""},
		{"a.b a.c/d", ""},
		{"a/b a", `tensor "a.b": leaf is below another leaf`},
		{"a a/b", `tensor "a.b": leaf is below another leaf`},
		{"a a", `tensor "a": two leaves of one name`},
		{"a/b a.b", `tensor "a.b": two leaves of one name`},
		{"a/0i a/b", `tensor "a.b": node has both sequence indices and dict keys`},
		{"a/b a/0i", `tensor "a.b": node has both sequence indices and dict keys`},
		{"0i b", "node has both sequence indices and dict keys"},
		{"x/a/1i", `tensor "x.a": index "1" in a sequence of 1 items`},
		{"a/0i a/00i", `index "00"`},
		{"a/0i a/-1i", `index "-1"`},
		{"a/0i a/99999999999999999999i", `index "99999999999999999999"`},
		{strings.Repeat("x/", maxPath) + "x", "path has more than 512 keys"},
	} {
		var leaves []*leaf
		for _, path := range strings.Fields(test.leaves) {
			leaves = append(leaves, leafAt(path))
		}
		err := checkTree(leaves)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.60s: %v, want %q", test.leaves, err, test.want)
		}
	}
}

func isTooLarge(err error) bool {
	var bad *tensor.FormatError
	return errors.As(err, &bad) && bad.Reason == tensor.TooLarge
}

// What a tree may have is bounded in a "checkpoint" file and in _METADATA.
func TestTreeIsBounded(t *testing.T) {
	below := func(key string, leaves int) *flax.Node {
		items := make([]flax.Node, leaves)
		for i := range items {
			items[i] = flax.Node{Kind: flax.Int, Key: fmt.Sprint(i)}
		}
		return &flax.Node{Kind: flax.Map, Items: []flax.Node{{Kind: flax.Map, Key: key, Items: items}}}
	}
	for _, test := range []struct {
		key    string
		leaves int
		fits   bool
	}{
		{"k", maxLeaves, true},
		{"k", maxLeaves + 1, false},
		{strings.Repeat("k", 4000), 10_000, false},
	} {
		leaves, err := treeLeaves(below(test.key, test.leaves))
		if test.fits && (err != nil || len(leaves) != test.leaves) || !test.fits && !isTooLarge(err) {
			t.Errorf("%d leaves below a key of %d bytes: %v", test.leaves, len(test.key), err)
		}
	}
	document := func(keys, leaves int) []byte {
		var b strings.Builder
		path := strings.Repeat(`{"key":"k","key_type":2},`, keys-1)
		for i := range leaves {
			fmt.Fprintf(&b, `,"%d":{"key_metadata":[%s{"key":"%d","key_type":2}],"value_metadata":{"value_type":"None"}}`, i, path, i)
		}
		return []byte(`{"tree_metadata":{` + strings.TrimPrefix(b.String(), ",") + "}}")
	}
	for _, test := range []struct {
		keys, leaves int
		want         string
	}{
		{3, 1000, ""},
		{1, maxLeaves + 1, "more than 200000 leaves"},
		{maxPath, maxKeys/maxPath + 1, "2097152 keys"},
		{maxPath + 1, 1, "more than 512 keys"},
	} {
		m, err := parseMetadata(strictjson.NewDecoder(document(test.keys, test.leaves), maxJSONDepth))
		if test.want == "" && (err != nil || len(m.leaves) != test.leaves) || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%d leaves of %d keys: %v", test.leaves, test.keys, err)
		}
	}
}
