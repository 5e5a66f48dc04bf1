package orbax

import (
	"strings"
	"testing"
)

// leafAt makes a leaf of a path such as "a/0i/b", in which i marks an index.
func leafAt(path string) *leaf {
	l := &leaf{}
	for _, text := range strings.Split(path, "/") {
		number, index := strings.CutSuffix(text, "i")
		l.path = append(l.path, key{number, index})
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
		{"a/b a", `tensor "a": leaf comes twice or has leaves below it`},
		{"a a/b", `tensor "a.b": leaf is below another leaf`},
		{"a a", `tensor "a": leaf comes twice`},
		{"a/b a.b", `tensor "a.b": two leaves of one name`},
		{"a/0i a/b", `tensor "a.b": node has both sequence indices and dict keys`},
		{"a/b a/0i", `tensor "a.0": node has both sequence indices and dict keys`},
		{"0i b", "node has both sequence indices and dict keys"},
		{"x/a/1i", `tensor "x.a": index "1" in a sequence of 1 items`},
		{"a/0i a/00i", `index "00"`},
		{"a/0i a/-1i", `index "-1"`},
		{"a/0i a/99999999999999999999i", `index "99999999999999999999"`},
		{strings.Repeat("x/", maxPath) + "x", "path has 513 keys"},
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
