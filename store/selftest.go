package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// selfTest proves that b honours the conditions on which everything else
// relies. There are services that take the headers and ignore them, and some
// that honour them only while nobody else writes.
func selfTest(ctx context.Context, b Bucket) error {
	key := selfTestRoot + rand.Text()
	return errors.Join(testConditions(ctx, b, key), b.Delete(ctx, key))
}

func testConditions(ctx context.Context, b Bucket, key string) error {
	put := func(content string, cond Condition) (Object, error) {
		return b.Put(ctx, key, strings.NewReader(content), int64(len(content)), cond)
	}
	if _, err := put("0", IfMatch("d41d8cd98f00b204e9800998ecf8427e")); !errors.Is(err, ErrPrecondition) {
		return notHonoured("If-Match", err)
	}
	if err := raceIfAbsent(put); err != nil {
		return err
	}
	first, err := b.Stat(ctx, key)
	if err != nil {
		return err
	}
	if _, err := put("second", IfMatch(first.ETag)); err != nil {
		return err
	}
	if _, err := put("third", IfMatch(first.ETag)); !errors.Is(err, ErrPrecondition) {
		return notHonoured("If-Match", err)
	}
	return nil
}

// raceIfAbsent lets a few writers create one object, of whom one may succeed.
func raceIfAbsent(put func(string, Condition) (Object, error)) error {
	var writers sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		writers.Go(func() { _, errs[i] = put(fmt.Sprint("writer ", i), IfAbsent()) })
	}
	writers.Wait()
	winners := 0
	for _, err := range errs {
		switch {
		case err == nil:
			winners++
		case !errors.Is(err, ErrPrecondition):
			return err
		}
	}
	if winners != 1 {
		return fmt.Errorf("If-None-Match is not honoured: %d of %d writers created one object", winners, len(errs))
	}
	return nil
}

// notHonoured says that a put succeeded that should not, or why it failed
// otherwise.
func notHonoured(header string, err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%s is not honoured: a put with a condition that does not hold has written", header)
}
