package fit

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"mmspipe/resize"
)

// WriteTable writes a table of what became of the files, for a person.
func WriteTable(w io.Writer, rows []Row) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "FILE\tBEFORE\tAFTER\tCODED\tBYTES\tRESULT")
	var before, after, fitted int
	for _, row := range rows {
		was := ""
		if row.Source.Width > 0 {
			was = picture(row.Source.Width, row.Source.Height, row.Size)
		}
		if row.Err != nil {
			fmt.Fprintf(table, "%s\t%s\t\t\t\t%v\n", row.File, was, row.Err)
			continue
		}
		r := row.Result
		result := row.Output
		if len(r.Lost) > 0 {
			result = strings.TrimSpace(result + " without " + strings.Join(r.Lost, ", "))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", row.File, was,
			picture(r.Width, r.Height, row.Fitted), quality(r), change(row.Size, row.Fitted), result)
		before, after, fitted = before+row.Size, after+row.Fitted, fitted+1
	}
	if fitted > 1 {
		fmt.Fprintf(table, "%d files\t%s\t%s\t\t%s\t\n", fitted, byteCount(before), byteCount(after), change(before, after))
	}
	return table.Flush()
}

// quality says how a result is coded.
func quality(r resize.Result) string {
	switch {
	case r.PassThrough:
		return "as it was"
	case r.Quality > 0:
		return fmt.Sprintf("quality %d", r.Quality)
	case r.ContentType == "image/png":
		return "PNG"
	}
	return "GIF"
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

// change writes by how much the bytes grew or shrank: a picture that had to become
// another type may have become more bytes.
func change(before, after int) string {
	switch {
	case before == after:
		return "same"
	case before == 0:
		return ""
	case after > 2*before:
		return fmt.Sprintf("%.1f× larger", float64(after)/float64(before))
	}
	percent := 100 * (float64(after)/float64(before) - 1)
	if percent > -1 && percent < 1 {
		return fmt.Sprintf("%+d B", after-before)
	}
	return fmt.Sprintf("%+.0f %%", percent)
}

// JSON is a line of what [WriteJSON] writes. It is a contract.
type JSON struct {
	File         string     `json:"file"`
	Output       string     `json:"output,omitempty"`
	Before       *JSONImage `json:"before,omitempty"`
	After        *JSONImage `json:"after,omitempty"`
	Quality      int        `json:"quality,omitempty"` // of JPEG, 1 to 100
	Scale        float64    `json:"scale,omitempty"`
	PassThrough  bool       `json:"passThrough,omitempty"`
	Lost         []string   `json:"lost,omitempty"`
	Milliseconds int64      `json:"milliseconds"`
	Error        string     `json:"error,omitempty"`
}

// JSONImage is a picture in a [JSON] line.
type JSONImage struct {
	ContentType string `json:"contentType"`
	Bytes       int    `json:"bytes"`
	Width       int    `json:"width"`
	Height      int    `json:"height"`
}

// WriteJSON writes a line of JSON for each file.
func WriteJSON(w io.Writer, rows []Row) error {
	encoder := json.NewEncoder(w)
	for _, row := range rows {
		line := JSON{File: row.File, Output: row.Output}
		if s := row.Source; s.Width > 0 {
			line.Before = &JSONImage{s.ContentType, row.Size, s.Width, s.Height}
		}
		if row.Err != nil {
			line.Error = row.Err.Error()
		} else {
			r := row.Result
			line.After = &JSONImage{r.ContentType, row.Fitted, r.Width, r.Height}
			line.Quality, line.Scale, line.PassThrough, line.Lost = r.Quality, r.Scale, r.PassThrough, r.Lost
			line.Milliseconds = r.Elapsed.Milliseconds()
		}
		if err := encoder.Encode(line); err != nil {
			return err
		}
	}
	return nil
}
