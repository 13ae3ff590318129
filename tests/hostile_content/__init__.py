"""What users write, print and leave so that a page of ours would act for them."""
