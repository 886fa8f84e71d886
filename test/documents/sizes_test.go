package documents

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// How much a type may hold before it is more than one idea.
const (
	mostFields  = 12
	mostMethods = 12
)

// A type has at most a dozen fields and a dozen methods. Records, which have nothing
// but exported fields, are left out: settings, snapshots, what goes over the wire.
func TestTypesAreSmall(t *testing.T) {
	t.Parallel()
	sizes, records := map[string][2]int{}, map[string]bool{}
	for _, root := range []string{"cmd", "config", "crypto", "dialect", "envelope", "replay", "reorder", "sidecar"} {
		require.NoError(t, filepath.WalkDir(filepath.Join("../..", root), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			folder, _ := filepath.Rel("../..", filepath.Dir(path))
			count(file, filepath.ToSlash(folder)+".", sizes, records)
			return nil
		}))
	}
	require.Greater(t, len(sizes), 100)
	var over []string
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		fields, methods := sizes[name][0], sizes[name][1]
		if fields > mostFields && !records[name] || methods > mostMethods {
			over = append(over, fmt.Sprintf("%s has %d fields and %d methods", name, fields, methods))
		}
	}
	require.Empty(t, over, "these types are too large; split them by what they are about")
}

// count adds the fields and methods of a file's types to sizes.
func count(file *ast.File, prefix string, sizes map[string][2]int, records map[string]bool) {
	add := func(name string, fields, methods int) {
		size := sizes[prefix+name]
		sizes[prefix+name] = [2]int{size[0] + fields, size[1] + methods}
	}
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv != nil {
				add(receiver(d.Recv.List[0].Type), 0, 1)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				s, ok := spec.(*ast.TypeSpec)
				if !ok {
					continue
				}
				switch kind := s.Type.(type) {
				case *ast.InterfaceType:
					add(s.Name.Name, 0, kind.Methods.NumFields())
				case *ast.StructType:
					add(s.Name.Name, kind.Fields.NumFields(), 0)
					records[prefix+s.Name.Name] = isRecord(kind)
				}
			}
		}
	}
}

// isRecord reports whether all fields are exported.
func isRecord(s *ast.StructType) bool {
	for _, f := range s.Fields.List {
		for _, name := range f.Names {
			if !name.IsExported() {
				return false
			}
		}
		if len(f.Names) == 0 {
			return false
		}
	}
	return true
}

func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	}
	return fmt.Sprintf("%T", t)
}
