package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	markdownLink    = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	markdownHeading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fenced          = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
)

// TestReadmeLinks: what the READMEs link to is there, headings too.
func TestReadmeLinks(t *testing.T) {
	const root = "../.."
	var readmes []string
	for _, pattern := range []string{"README.md", "*/README.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		readmes = append(readmes, found...)
	}
	if len(readmes) < 5 {
		t.Fatalf("only %v", readmes)
	}
	for _, readme := range readmes {
		for _, link := range markdownLink.FindAllStringSubmatch(prose(t, readme), -1) {
			target, heading, _ := strings.Cut(link[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := readme
			if target != "" {
				file = filepath.Join(filepath.Dir(readme), filepath.FromSlash(target))
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s links to %s: %v", readme, link[1], err)
				continue
			}
			if heading != "" && !anchors(t, file)[heading] {
				t.Errorf("%s links to %s, and there is no such heading", readme, link[1])
			}
		}
	}
}

// prose is a text without its code.
func prose(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fenced.ReplaceAllString(string(text), "")
}

// anchors are what headings can be linked to by, as GitHub makes them: lower case, spaces
// as hyphens, and no other punctuation.
func anchors(t *testing.T, path string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, heading := range markdownHeading.FindAllStringSubmatch(prose(t, path), -1) {
		all[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', 'a' <= r && r <= 'z', '0' <= r && r <= '9':
				return r
			}
			return -1
		}, strings.ToLower(heading[1]))] = true
	}
	return all
}
