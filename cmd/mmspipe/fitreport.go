package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// writeFitTable writes what became of the files for a person.
func writeFitTable(w io.Writer, rows []fitRow) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "FILE\tBEFORE\tAFTER\tQUALITY\tSAVED\tRESULT")
	var before, after, fitted int
	for _, row := range rows {
		was := ""
		if row.source.Width > 0 {
			was = picture(row.source.Width, row.source.Height, row.size)
		}
		if row.err != nil {
			fmt.Fprintf(table, "%s\t%s\t\t\t\t%v\n", row.file, was, row.err)
			continue
		}
		r := row.result
		quality := "-"
		switch {
		case r.PassThrough:
			quality = "as it was"
		case r.Quality > 0:
			quality = fmt.Sprint(r.Quality)
		}
		result := row.output
		if len(r.Lost) > 0 {
			result = strings.TrimSpace(result + " without " + strings.Join(r.Lost, ", "))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", row.file, was,
			picture(r.Width, r.Height, row.fitted), quality, saved(row.size, row.fitted), result)
		before, after, fitted = before+row.size, after+row.fitted, fitted+1
	}
	if fitted > 1 {
		fmt.Fprintf(table, "%d files\t%s\t%s\t\t%s\t\n", fitted, byteCount(before), byteCount(after), saved(before, after))
	}
	return table.Flush()
}

func picture(width, height, size int) string {
	return fmt.Sprintf("%d×%d %s", width, height, byteCount(size))
}

// byteCount writes a size as carriers count, a kilobyte being 1000 bytes.
func byteCount(n int) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1_000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1_000_000)
}

func saved(before, after int) string {
	return fmt.Sprintf("%.0f %%", 100*(1-float64(after)/float64(before)))
}

// fitJSON is what the JSON says of a file. It is a contract.
type fitJSON struct {
	File         string        `json:"file"`
	Output       string        `json:"output,omitempty"`
	Before       *fitJSONImage `json:"before,omitempty"`
	After        *fitJSONImage `json:"after,omitempty"`
	Quality      int           `json:"quality,omitempty"` // of JPEG, 1 to 100
	Scale        float64       `json:"scale,omitempty"`
	PassThrough  bool          `json:"passThrough,omitempty"`
	Lost         []string      `json:"lost,omitempty"`
	Milliseconds int64         `json:"milliseconds"`
	Error        string        `json:"error,omitempty"`
}

type fitJSONImage struct {
	ContentType string `json:"contentType"`
	Bytes       int    `json:"bytes"`
	Width       int    `json:"width"`
	Height      int    `json:"height"`
}

// writeFitJSON writes a line of JSON for each file.
func writeFitJSON(w io.Writer, rows []fitRow) error {
	encoder := json.NewEncoder(w)
	for _, row := range rows {
		line := fitJSON{File: row.file, Output: row.output}
		if s := row.source; s.Width > 0 {
			line.Before = &fitJSONImage{s.ContentType, row.size, s.Width, s.Height}
		}
		if row.err != nil {
			line.Error = row.err.Error()
		} else {
			r := row.result
			line.After = &fitJSONImage{r.ContentType, row.fitted, r.Width, r.Height}
			line.Quality, line.Scale, line.PassThrough, line.Lost = r.Quality, r.Scale, r.PassThrough, r.Lost
			line.Milliseconds = r.Elapsed.Milliseconds()
		}
		if err := encoder.Encode(line); err != nil {
			return err
		}
	}
	return nil
}
