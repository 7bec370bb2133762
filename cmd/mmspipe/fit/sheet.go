package fit

import (
	"encoding/base64"
	"html/template"
	"os"
	"strings"
)

// sheet is a page of pictures before and after, for people to look at. It needs no
// other file: the pictures are in it.
var sheet = template.Must(template.New("sheet").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>mmspipe fit</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em; }
section { display: flex; flex-wrap: wrap; gap: 1em; border-top: 1px solid #ccc; padding: 1em 0; }
h2 { width: 100%; margin: 0; font-size: 1em; }
figure { margin: 0; flex: 1 1 20em; }
img { max-width: 100%; background: repeating-conic-gradient(#ddd 0 25%, #fff 0 50%) 0 / 16px 16px; }
</style>
<h1>Before and after, {{.Target}}</h1>
{{range .Rows}}<section><h2>{{.File}}</h2>
{{if .Before}}<figure><img src="{{.Before}}" alt="before"><figcaption>{{.Was}}</figcaption></figure>{{end}}
{{if .After}}<figure><img src="{{.After}}" alt="after"><figcaption>{{.Is}}</figcaption></figure>{{end}}
{{with .Error}}<p>{{.}}</p>{{end}}</section>
{{end}}</html>
`))

// sheetRow is one file on the sheet.
type sheetRow struct {
	File, Was, Is, Error string
	Before, After        template.URL
}

// WriteSheet writes a page of all pictures before and after into the HTML file name,
// with the pictures in it. Target is the name of the limits. Results that went to
// standard output are not on it.
func WriteSheet(name, target string, rows []Row) error {
	page := struct {
		Target string
		Rows   []sheetRow
	}{Target: target}
	for _, row := range rows {
		line := sheetRow{File: row.File}
		if row.Source.Width > 0 {
			line.Was = picture(row.Source.Width, row.Source.Height, row.Size)
			before, err := dataURL(row.File, row.Source.ContentType)
			if err != nil {
				return err
			}
			line.Before = before
		}
		if row.Err != nil {
			line.Error = row.Err.Error()
		} else {
			line.Is = strings.Join(described(row), ", ")
			after, err := dataURL(row.Output, row.Result.ContentType)
			if err != nil {
				return err
			}
			line.After = after
		}
		page.Rows = append(page.Rows, line)
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := sheet.Execute(f, page); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// described says what became of a file.
func described(row Row) []string {
	r := row.Result
	words := []string{picture(r.Width, r.Height, row.Fitted), quality(r)}
	if row.Fitted != row.Size {
		words = append(words, change(row.Size, row.Fitted))
	}
	if len(r.Lost) > 0 {
		words = append(words, "without "+strings.Join(r.Lost, ", "))
	}
	return words
}

// dataURL returns a file as a URL that has it inside.
func dataURL(file, contentType string) (template.URL, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	// The type is one of those that the decoders told by the bytes.
	return template.URL("data:" + contentType + ";base64," + base64.StdEncoding.EncodeToString(data)), nil
}
