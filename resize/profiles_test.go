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

func TestShare(t *testing.T) {
	p := resize.Profile{MaxBytes: 1000, Reserve: 100}
	for pictures, want := range map[int]int{-1: 900, 0: 900, 1: 900, 2: 450, 7: 128} {
		if got := resize.Share(p, pictures); got != want {
			t.Errorf("%d pictures: %d bytes each, want %d", pictures, got, want)
		}
	}
	if got := resize.Share(resize.Profile{MaxBytes: 10, Reserve: 20}, 1); got != 0 {
		t.Errorf("%d bytes of a profile that has none for media", got)
	}
}

func TestProfileTarget(t *testing.T) {
	p, err := resize.ProfileNamed("us")
	if err != nil {
		t.Fatal(err)
	}
	got := p.Target(3)
	if got.Name != "us" || got.MaxBytes != 190_000 || got.MaxWidth != p.MaxWidth || got.MaxHeight != p.MaxHeight ||
		!slices.Equal(got.Types, p.Types) {
		t.Errorf("target %+v", got)
	}
}
