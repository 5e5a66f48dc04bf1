package report_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"html"
	"io"
	"regexp"
	"strings"
	"testing"
)

var (
	styleElement  = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
	scriptElement = regexp.MustCompile(`(?s)<script>(.*?)</script>`)
	policyElement = regexp.MustCompile(`http-equiv="Content-Security-Policy" content="([^"]*)"`)
)

// checkPage checks what holds for every page: it is well-formed, loads nothing, its policy allows its own style sheet and script
// and nothing else, ids are unique, links lead somewhere, and plots are described. It returns the page without style sheet and
// script.
func checkPage(t *testing.T, page string) string {
	t.Helper()
	policy := policyElement.FindStringSubmatch(page)
	if policy == nil {
		t.Fatal("the page has no policy")
	}
	want := "default-src 'none'"
	for _, part := range []struct {
		directive string
		element   *regexp.Regexp
	}{{"style-src", styleElement}, {"script-src", scriptElement}} {
		found := part.element.FindAllStringSubmatch(page, -1)
		if len(found) != 1 {
			t.Fatalf("%d elements for %s, want 1", len(found), part.directive)
		}
		sum := sha256.Sum256([]byte(found[0][1]))
		want += "; " + part.directive + " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	want += "; base-uri 'none'; form-action 'none'"
	if got := html.UnescapeString(policy[1]); got != want {
		t.Errorf("the policy is %s, not %s", got, want)
	}
	bare := scriptElement.ReplaceAllString(styleElement.ReplaceAllString(page, ""), "")
	for _, never := range []string{"<script", "<style", "http:", "https:", "url(", " src=", " style=", "ZgotmplZ", "\x1b", "\u202e"} {
		if i := strings.Index(bare, never); i >= 0 {
			t.Errorf("the page has %q: …%.200s…", never, bare[max(0, i-100):])
		}
	}
	bare = strings.ReplaceAll(bare, "<wbr>", "")
	checkElements(t, bare)
	return bare
}

// checkElements parses the page, so that every element is closed and every attribute quoted.
func checkElements(t *testing.T, page string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(strings.Replace(page, "<!DOCTYPE html>", "", 1)))
	d.AutoClose, d.Entity, d.Strict = []string{"meta", "wbr"}, xml.HTMLEntity, false
	ids, links := map[string]bool{}, map[string]bool{}
	charts, described := 0, 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if start.Name.Local == "desc" {
			described++
		}
		for _, a := range start.Attr {
			switch name := a.Name.Local; {
			case name == "id":
				if ids[a.Value] {
					t.Errorf("id %q twice", a.Value)
				}
				ids[a.Value] = true
			case name == "href":
				links[a.Value] = true
			case name == "class" && start.Name.Local == "svg" && strings.HasPrefix(a.Value, "chart"):
				charts++
			case strings.HasPrefix(name, "on"):
				t.Errorf("<%s> has the handler %s", start.Name.Local, name)
			}
		}
	}
	for link := range links {
		if !strings.HasPrefix(link, "#") || !ids[link[1:]] {
			t.Errorf("the link %q leads nowhere", link)
		}
	}
	if charts != described {
		t.Errorf("%d plots, %d of them described", charts, described)
	}
}
