package resize_test

import (
	"errors"
	"os"
	"testing"

	"mmspipe/resize"
)

// seed adds a small picture of every kind, with and without metadata.
func seed(f *testing.F) {
	for _, kind := range kinds {
		f.Add(kind(9, 7))
	}
	for _, data := range withMetadata() {
		f.Add(data)
	}
	for _, name := range []string{"lossy.webp", "lossy-alpha.webp", "progressive.jpg", "cmyk.jpg"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, data := range bombs() {
		f.Add(data)
	}
}

func FuzzInspect(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := resize.Inspect(data)
		if err != nil {
			if _, ok := errors.AsType[*resize.UnfitError](err); !ok || info != (resize.Info{}) {
				t.Fatalf("%+v, %v", info, err)
			}
			return
		}
		if info.ContentType != resize.Sniff(data) || info.Width < 1 || info.Height < 1 || info.Frames < 1 ||
			info.Orientation < 1 || info.Orientation > 8 {
			t.Fatalf("%+v", info)
		}
	})
}

func FuzzFit(f *testing.F) {
	seed(f)
	fitter := resize.New(resize.Options{Memory: 16 << 20, MaxPixels: 1 << 16})
	targets := []resize.Target{
		{Name: "carrier", MaxBytes: 4000, MaxWidth: 48, MaxHeight: 40, Types: carrierTypes},
		{Name: "thumb", MaxBytes: 2000, MaxWidth: 8, MaxHeight: 8, Types: []string{"image/jpeg", "image/png"}},
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		results, err := fitter.Fit(t.Context(), data, targets...)
		if err != nil {
			if _, ok := errors.AsType[*resize.UnfitError](err); !ok {
				t.Fatal(err)
			}
			return
		}
		for i, r := range results {
			info, err := resize.Inspect(r.Data)
			if err != nil || info.ContentType != r.ContentType || info.Width != r.Width || info.Height != r.Height ||
				info.Orientation != 1 || len(r.Data) > targets[i].MaxBytes ||
				r.Width > targets[i].MaxWidth || r.Height > targets[i].MaxHeight {
				t.Fatalf("%s: %+v, %v for %d bytes, %d×%d", r.Name, info, err, len(r.Data), r.Width, r.Height)
			}
			again, err := fitter.Fit(t.Context(), r.Data, targets[i])
			if err != nil || !again[0].PassThrough || string(again[0].Data) != string(r.Data) {
				t.Fatalf("%s does not pass through: %v", r.Name, err)
			}
		}
	})
}
