package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// What a reader can keep in mind of the packages under ingest and cmd. Tests do not count.
const (
	mostMethods      = 25   // of a type
	mostPackageLines = 1500 // of a package, without those below it
	mostFileLines    = 500  // of a file
)

// TestFigures: no type, package or file under ingest and cmd grows too large.
func TestFigures(t *testing.T) {
	const root = "../.."
	methods, lines := map[string]int{}, map[string]int{}
	for _, top := range []string{"ingest", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			rel, err := filepath.Rel(root, name)
			if err != nil {
				return err
			}
			measure(t, name, filepath.ToSlash(rel), methods, lines)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(methods) < 50 || len(lines) < 20 {
		t.Fatalf("%d types with methods in %d packages: that is not the project", len(methods), len(lines))
	}
	for name, n := range methods {
		if n > mostMethods {
			t.Errorf("type %s has %d methods, want %d at most", name, n, mostMethods)
		}
	}
	for pkg, n := range lines {
		if n > mostPackageLines {
			t.Errorf("package %s has %d lines without tests, want %d at most", pkg, n, mostPackageLines)
		}
	}
}

// measure adds the methods and the lines of a file, and reports a file that is too large.
func measure(t *testing.T, file, rel string, methods, lines map[string]int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := bytes.Count(text, []byte("\n"))
	if n > mostFileLines {
		t.Errorf("file %s has %d lines, want %d at most", rel, n, mostFileLines)
	}
	pkg := path.Dir(rel)
	lines[pkg] += n
	parsed, err := parser.ParseFile(token.NewFileSet(), rel, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, declaration := range parsed.Decls {
		if f, ok := declaration.(*ast.FuncDecl); ok && f.Recv != nil {
			methods[pkg+"."+receiver(f.Recv.List[0].Type)]++
		}
	}
}

// receiver returns the name of a method's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr: // one type parameter
		return receiver(e.X)
	case *ast.IndexListExpr: // several
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return "?"
}
