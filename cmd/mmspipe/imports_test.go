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
	"resize":                        {"resize/internal/bmp", "resize/internal/gif", "resize/internal/heif", "resize/internal/icc", "resize/internal/jpeg", "resize/internal/png", "resize/internal/scale", "resize/internal/webp"},
	"resize/internal/bmp":           {},
	"resize/internal/gif":           {},
	"resize/internal/heif":          {"resize/internal/jpeg"},
	"resize/internal/heif/nodlopen": {}, // a module of its own
	"resize/internal/icc":           {},
	"resize/internal/jpeg":          {"resize/internal/scale"},
	"resize/internal/png":           {},
	"resize/internal/scale":         {},
	"resize/internal/webp":          {"resize/internal/jpeg"},
	"ingest/signature":              {},
	"ingest/guard":                  {},
	"ingest/fetch":                  {"ingest/fetch/freshness", "ingest/guard"},
	"ingest/fetch/freshness":        {},
	"ingest/simulate":               {"ingest/simulate/api", "ingest/simulate/cdn", "ingest/simulate/webhook"},
	"ingest/simulate/api":           {"ingest/simulate/cdn", "ingest/simulate/webhook"},
	"ingest/simulate/cdn":           {},
	"ingest/simulate/webhook":       {"ingest/signature"},
	"ingest":                        {"ingest/fetch", "ingest/upstream", "store", "store/stream"},
	"ingest/webhook":                {"store", "store/stream"},
	"ingest/receive":                {"ingest", "ingest/forward", "ingest/signature", "ingest/webhook", "store", "store/rest", "store/stream"},
	"ingest/forward":                {"ingest", "ingest/guard", "ingest/signature", "ingest/webhook", "store", "store/feed", "store/rest", "store/stream"},
	"ingest/media":                  {"ingest", "ingest/fetch", "resize", "store", "store/feed", "store/mediatype", "store/stream"},
	"ingest/removal":                {"store", "store/feed", "store/stream"},
	"ingest/status":                 {"ingest/forward", "ingest/webhook", "store", "store/feed", "store/stream"},
	"ingest/inbound":                {"ingest", "ingest/media", "ingest/removal", "ingest/status", "ingest/upstream", "ingest/webhook", "store", "store/feed", "store/stream"},
	"ingest/outbound":               {"ingest", "ingest/fetch", "ingest/media", "ingest/outbound/route", "ingest/removal", "ingest/status", "ingest/upstream", "ingest/webhook", "resize", "store", "store/feed", "store/link", "store/mediatype", "store/stream"},
	"ingest/outbound/route":         {"resize", "store/number"},
	"ingest/ingesttest":             nil, // wires everything below it, for tests
	"ingest/upstream":               {"store", "store/rest"},
	"ingest/operate":                {"ingest/forward", "ingest/removal", "ingest/upstream", "store", "store/damage", "store/feed", "store/stream"},
	"ingest/verify":                 {"ingest/inbound", "ingest/upstream", "store", "store/damage", "store/feed", "store/stream"},
	"store":                         {"store/number"},
	"store/storetest":               {"store"},
	"store/stream":                  {"store"},
	"store/rest":                    {},
	"store/link":                    {},
	"store/mediatype":               {},
	"store/number":                  {},
	"store/feed":                    {"store", "store/stream"},
	"store/damage":                  {"store", "store/feed", "store/stream"},
	"store/api":                     {"store", "store/damage", "store/feed", "store/link", "store/mediatype", "store/rest", "store/stream"},

	"cmd/mmspipe": {
		"cmd/mmspipe/demo", "cmd/mmspipe/doctor", "cmd/mmspipe/fit", "cmd/mmspipe/operator", "cmd/mmspipe/service", "cmd/mmspipe/settings",
		"ingest/operate", "ingest/simulate", "ingest/verify", "resize", "store",
	},
	"cmd/mmspipe/health":              {"store/stream"},
	"cmd/mmspipe/service":             nil, // wires everything below it
	"cmd/mmspipe/service/admission":   {},
	"cmd/mmspipe/service/servicetest": {"cmd/mmspipe/health", "cmd/mmspipe/service", "cmd/mmspipe/settings", "ingest/simulate", "store", "store/storetest"},
	"cmd/mmspipe/settings":            {"cmd/mmspipe/service", "ingest/guard", "ingest/outbound/route", "resize", "store", "store/number", "store/rest"},
	"cmd/mmspipe/operator":            {"cmd/mmspipe/health", "ingest/operate", "ingest/upstream", "ingest/verify", "store", "store/number", "store/rest", "store/stream"},
	"cmd/mmspipe/doctor":              {"cmd/mmspipe/operator", "cmd/mmspipe/service", "ingest/signature", "ingest/upstream", "store"},
	"cmd/mmspipe/fit":                 {"resize"},
	"cmd/mmspipe/demo":                {"cmd/mmspipe/service", "cmd/mmspipe/settings", "ingest/simulate", "store/stream"},
}

// homes says where each large dependency lives.
var homes = map[string][]string{
	"github.com/cockroachdb/pebble":     {"store"},
	"github.com/disintegration/imaging": {"resize"},
	"github.com/gen2brain/":             {"resize/internal/heif"},
	"github.com/minio/minio-go":         {"store"},
	"github.com/nats-io/nats.go":        {"store/stream", "cmd/mmspipe/service", "store/storetest"},
	"github.com/nats-io/nats-server":    {"cmd/mmspipe/service", "cmd/mmspipe/service/servicetest", "store/storetest"},
	"github.com/nyaruka/phonenumbers":   {"store/number"},
	"github.com/tetratelabs/wazero":     {"resize/internal/heif"},
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
