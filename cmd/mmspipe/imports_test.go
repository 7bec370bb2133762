package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// arrows says, for each of the project's packages, which others of it may be
// imported. Tests may import more.
var arrows = map[string][]string{
	"resize":               {"resize/internal/jpeg"},
	"resize/internal/jpeg": {},
	"ingest/signature":     {},
	"ingest/fetch":         {},
	"ingest/simulate":      {"ingest/signature"},
	"ingest":               {"ingest/fetch", "ingest/relay", "ingest/signature", "ingest/upstream", "resize", "store", "store/link", "store/rest", "store/stream"},
	"ingest/relay":         {"ingest/fetch", "ingest/signature"},
	"ingest/upstream":      {"store"},
	"ingest/operate":       {"ingest", "ingest/upstream", "store", "store/stream"},
	"store":                {},
	"store/storetest":      {"store"},
	"store/stream":         {"store"},
	"store/rest":           {},
	"store/link":           {},
	"store/api":            {"store", "store/link", "store/rest", "store/stream"},
	"cmd/mmspipe":          nil, // wires everything
}

// homes says where each large dependency lives.
var homes = map[string][]string{
	"github.com/disintegration/imaging": {"resize"},
	"github.com/minio/minio-go":         {"store"},
	"github.com/nats-io/nats.go":        {"store/stream", "cmd/mmspipe", "store/storetest"},
	"github.com/nats-io/nats-server":    {"cmd/mmspipe", "store/storetest"},
	"github.com/twilio/twilio-go":       {},
}

// TestImports holds the arrows between packages where no linter runs.
func TestImports(t *testing.T) {
	const root = "../.."
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, name)
		rel = filepath.ToSlash(rel)
		if entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && rel != "." || entry.Name() == "testdata") {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		checkImports(t, name, path.Dir(rel))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkImports(t *testing.T, file, pkg string) {
	t.Helper()
	allowed, known := arrows[pkg]
	if !known {
		t.Errorf("package %s has no line in the table of arrows", pkg)
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range parsed.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		if ours, ok := strings.CutPrefix(imported, "mmspipe/"); ok {
			if allowed != nil && !slices.Contains(allowed, ours) {
				t.Errorf("%s: %s may not import %s", file, pkg, ours)
			}
			continue
		}
		for dependency, packages := range homes {
			if strings.HasPrefix(imported, dependency) && !slices.Contains(packages, pkg) {
				t.Errorf("%s: %s is not the home of %s", file, pkg, dependency)
			}
		}
	}
}
