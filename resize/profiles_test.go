package resize_test

import (
	"slices"
	"strings"
	"testing"

	"mmspipe/resize"
)

func TestProfiles(t *testing.T) {
	names := map[string]bool{}
	for _, p := range resize.Profiles() {
		if names[p.Name] {
			t.Errorf("two profiles %s", p.Name)
		}
		names[p.Name] = true
		if p.Reserve < p.MaxBytes*4/100 || p.Reserve > p.MaxBytes/10 {
			t.Errorf("%s keeps %d of %d bytes", p.Name, p.Reserve, p.MaxBytes)
		}
		if len(p.Sources) == 0 || !slices.Contains(p.Types, "image/jpeg") {
			t.Errorf("%s has sources %q and types %q", p.Name, p.Sources, p.Types)
		}
		got, err := resize.ProfileNamed(p.Name)
		if err != nil || got.MaxBytes != p.MaxBytes {
			t.Errorf("ProfileNamed(%s) = %+v, %v", p.Name, got, err)
		}
		for pictures := 1; pictures <= 10; pictures++ {
			share := resize.Share(p, pictures)
			if share < 1 || share*pictures > p.MaxBytes-p.Reserve {
				t.Errorf("%s: %d pictures of %d bytes", p.Name, pictures, share)
			}
		}
	}
	if resize.Profiles()[0].Name != resize.DefaultProfile {
		t.Errorf("the first profile is %s", resize.Profiles()[0].Name)
	}
	_, err := resize.ProfileNamed("mars")
	if err == nil {
		t.Fatal("there is a profile for mars")
	}
	for name := range names {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}
