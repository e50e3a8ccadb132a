/*-------------------------------------------------------------------------
 *
 * replay.c
 *	  Gives a fuzzer's inputs each file of its corpus, once.
 *
 * For where there is no libFuzzer, and for the test suite: one result in the
 * Test Anything Protocol for each file.  A fault ends the program, so that
 * the plan is not met.
 *
 *-------------------------------------------------------------------------
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
is_input(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* The exact size is allocated, so that reading past the end is noticed. */
static void
replay(const char *name)
{
	char	   *path;
	uint8_t    *data;
	long		size;
	FILE	   *file;

	if (asprintf(&path, "%s/%s", CORPUS, name) < 0)
		abort();
	file = fopen(path, "rb");
	if (file == NULL || fseek(file, 0, SEEK_END) != 0)
	{
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(1);
	}
	size = ftell(file);
	rewind(file);
	data = malloc((size_t) size);
	if (fread(data, 1, (size_t) size, file) != (size_t) size)
		exit(1);
	fclose(file);
	free(path);

	LLVMFuzzerTestOneInput(data, (size_t) size);
	free(data);
}

int
main(void)
{
	struct dirent **entries;
	int			n = scandir(CORPUS, &entries, is_input, alphasort);

	if (n <= 0)
	{
		fprintf(stderr, "%s has no files\n", CORPUS);
		return 1;
	}

	printf("1..%d\n", n);
	for (int i = 0; i < n; i++)
	{
		replay(entries[i]->d_name);
		printf("ok %d - %s\n", i + 1, entries[i]->d_name);
		fflush(stdout);
		free(entries[i]);
	}
	free(entries);
	return 0;
}
