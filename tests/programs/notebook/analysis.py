#!/usr/bin/env python
# coding: utf-8

# # A notebook, exported as a script

# In[1]:


import json
from pathlib import Path


# In[2]:


values = [step**2 for step in range(10)]
mean = sum(values) / len(values)
mean


# In[3]:


results = Path("results")
results.mkdir(exist_ok=True)
(results / "summary.json").write_text(json.dumps({"mean": mean}))
print("mean", mean)
